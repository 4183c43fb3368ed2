#!/usr/bin/env bash
# Everything that needs a CUDA machine, from a bare checkout, in under 9 minutes:
#
#     benchmarks/gpu_check.sh [--backend cupy] [--out FOLDER] [--only PART,PART] [WHEELS]
#
# Python 3.12 with NumPy, CuPy, PyTorch and JAX must be there; what else is missing is installed from
# the wheels in the folder WHEELS, into the output folder and without a network.  Each part has a time
# limit and the next one runs whatever happened; a short table comes last.  FOLDER (default:
# gpu-check) gets one log for each part, their JSON files, and summary.json.
#
# `--backend numpy` runs the same parts without a GPU, small: that is how this script is tested.
set -uo pipefail

backend=cupy out=gpu-check only="" wheels=""
while [ $# -gt 0 ]; do
    case $1 in
        --backend) backend=$2; shift 2 ;;
        --out) out=$2; shift 2 ;;
        --only) only=$2; shift 2 ;;
        -h | --help) sed -n '2,/^set/{/^set/!p}' "$0" | sed 's/^# \{0,1\}//'; exit 0 ;;
        -*) echo "gpu_check.sh: no such option: $1" >&2; exit 2 ;;
        *) wheels=$(cd "$1" && pwd) || exit 2; shift ;;
    esac
done

mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-python3}
export PYTHONPATH="$PWD:$PWD/backends:$PWD/benchmarks:$PWD/tests:$out/site"
export MPLBACKEND=Agg PYTHONUNBUFFERED=1
rm -f "$out/bandwidth.json"
: >"$out/parts.tsv"
begin=$SECONDS

# part NAME LIMIT COMMAND…: run it for at most LIMIT seconds, keep its output, go on.
part() {
    local name=$1 limit=$2 start=$SECONDS code=0
    shift 2
    case ",$only," in *,,* | *",$name,"*) ;; *) return 0 ;; esac
    printf '=== %s (at most %s s)\n' "$name" "$limit" >&2
    timeout -k 5 "$limit" "$@" >"$out/$name.log" 2>&1 || code=$?
    tail -n 3 "$out/$name.log" >&2
    printf '%s\t%s\t%s\n' "$name" "$code" "$((SECONDS - start))" >>"$out/parts.tsv"
}

# What a bare image lacks, one package at a time: one that has no wheel here must not stop the others.
missing() {
    local pair module package
    for pair in scipy:scipy numba:numba llvmlite:llvmlite safetensors:safetensors click:click \
        rich:rich markdown_it:markdown-it-py mdurl:mdurl pygments:pygments pooch:pooch \
        platformdirs:platformdirs requests:requests threadpoolctl:threadpoolctl psutil:psutil \
        packaging:packaging pytest:pytest iniconfig:iniconfig pluggy:pluggy hypothesis:hypothesis \
        sortedcontainers:sortedcontainers matplotlib:matplotlib cudnn:nvidia-cudnn-frontend \
        nvmath:nvmath-python pynvml:nvidia-ml-py cuda.core:cuda-core; do
        module=${pair%%:*} package=${pair#*:}
        if "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('${module%%.*}') is None)"; then
            continue
        elif [ -z "$wheels" ]; then
            echo "missing: $package"
        else
            "$python" -m pip install --quiet --no-index --no-deps --find-links "$wheels" \
                --target "$out/site" "$package" || echo "no wheel for $package"
        fi
    done
}
export -f missing
export python wheels out

if [ "$backend" = cupy ]; then
    tests=(-m gpu) few=(-m gpu tests/backends/cupy_backend) megabytes=64 largest=8192
    workloads=mlp-tiny,mlp-digits,mlp-mnist,mlp-wide,lenet-64,lenet-512,lstm,gpt,vgg16-b8
    bench=(--backends numpy,cupy --quick) peers=(--backends numpy --peers torch,torch-compile,jax)
else
    tests=(tests/test_tiny.py) few=(tests/test_tiny.py) megabytes=1 largest=256
    workloads=mlp-tiny
    bench=(--backends "$backend" --quick) peers=(--backends "$backend")
fi

part wheels 60 bash -c missing
part machine 30 "$python" -m nnlib info
part bandwidth 50 "$python" benchmarks/gpu_bandwidth.py --backend "$backend" \
    --megabytes "$megabytes" --largest "$largest" --json "$out/bandwidth.json"
part bench 90 "$python" -m nnlib bench --workloads "$workloads" "${bench[@]}" --out "$out/bench"
# on the CPU, where their processes run: what the harness compares with on a GPU is not written yet
part peers 60 env JAX_PLATFORMS=cpu CUDA_VISIBLE_DEVICES= "$python" -m nnlib bench --quick \
    --workloads "${workloads%%,*}" "${peers[@]}" --out "$out/bench"
# verbose: when the time is over, the log says how far it came
part tests 190 "$python" -m pytest -v --tb=short -p no:cacheprovider "${tests[@]}"
if command -v compute-sanitizer >/dev/null; then
    part memcheck 50 compute-sanitizer --tool memcheck --error-exitcode 3 \
        "$python" -m pytest -q -x -p no:cacheprovider "${few[@]}"
fi

"$python" benchmarks/gpu_summary.py "$out" "$((SECONDS - begin))"
