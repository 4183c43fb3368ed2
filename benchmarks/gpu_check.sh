#!/usr/bin/env bash
# Everything that needs a CUDA machine, from a bare checkout, in under 9 minutes:
#
#     benchmarks/gpu_check.sh [--backend cupy] [--out FOLDER] [--only PART,PART] [WHEELS]
#
# Python 3.12 with NumPy, CuPy, PyTorch and JAX must be there; what else is missing is installed from
# the wheels in the folder WHEELS, into the output folder and without a network.  Each part has a time
# limit and the next one runs whatever happened; a short table comes last.  FOLDER (default:
# gpu-check) gets one log for each part, their JSON files, and summary.json.  What a part has
# measured when its time is over is kept: `--only compiled` then goes on with warm caches.
#
#     bench      the list compare-gpu: nnlib beside PyTorch eager and jax.jit, all on the GPU
#     compiled   the same beside torch.compile(mode="max-autotune")
#     claim      VGG-16 on the GPU and on all cores of the CPU
#     tests      pytest -m gpu; memcheck: the kernels' tests under compute-sanitizer
#     bandwidth  kernels as shares of the copy rate, products and convolutions of the 8192³ one
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
        rich:rich markdown_it:markdown-it-py mdurl:mdurl pygments:pygments pooch:pooch ml_dtypes:ml-dtypes \
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

# what a compiler of kernels has found out is kept for the next call on the same machine
export TORCHINDUCTOR_CACHE_DIR="$out/inductor" JAX_COMPILATION_CACHE_DIR="$out/jax"

# Of PEER:PACKAGE …, the peers whose package is there, with commas: one that is missing is no reason
# to measure nothing.
installed() {
    local pair found=""
    for pair in "$@"; do
        "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('${pair#*:}') is None)" &&
            found=$found,${pair%%:*}
    done
    echo "${found#,}"
}

if [ "$backend" = cupy ]; then
    # what a GPU alone can tell comes first, then what holds on every backend
    tests=(-m "gpu and not peers" tests/{backends,models,capture,benchmarks,ops,optim,nn,autograd}
        tests/{train,io,data,cli,examples,peers,test_*.py})
    few=(-m gpu tests/backends/cupy_backend/kernels) megabytes=64 largest=8192
    bench=(--backends cupy --peers "$(installed torch-cuda:torch jax-cuda:jax)" --workloads compare-gpu)
    compiled=(--backends cupy --peers "$(installed torch-compile-cuda:torch)"
        --workloads mlp-tiny,mlp-mnist,lenet-64,gpt2-124m@bf16,vgg16-b256@bf16,mlp-8192@bf16)
    claim=(--backends cupy,numpy --workloads vgg16-b8,vgg16-b256@bf16,mlp-tiny,mlp-mnist,lenet-64)
else
    tests=(tests/test_tiny.py) few=(tests/test_tiny.py) megabytes=1 largest=256
    bench=(--backends "$backend" --workloads mlp-tiny,mlp-tiny@bf16)
    compiled=(--backends "$backend" --workloads mlp-tiny)
    claim=(--backends "$backend" --workloads mlp-tiny)
fi

part wheels 50 bash -c missing
part machine 20 "$python" -m nnlib info
# NumPy takes part in the claim only: its steps would take the time of all others
part bench 150 "$python" -m nnlib bench --quick "${bench[@]}" --out "$out/bench"
part claim 50 "$python" -m nnlib bench --quick "${claim[@]}" --out "$out/claim"
# verbose: when the time is over, the log says how far it came
part tests 115 "$python" -m pytest -v --tb=short -p no:cacheprovider "${tests[@]}"
part bandwidth 50 "$python" benchmarks/gpu_bandwidth.py --backend "$backend" \
    --megabytes "$megabytes" --largest "$largest" --json "$out/bandwidth.json"
# apart from the others: it tries kernels out for minutes, and what it has found is kept
part compiled 70 "$python" -m nnlib bench --quick "${compiled[@]}" --out "$out/compiled"
if command -v compute-sanitizer >/dev/null; then
    part memcheck 20 compute-sanitizer --tool memcheck --error-exitcode 3 \
        "$python" -m pytest -q -x -p no:cacheprovider "${few[@]}"
fi

"$python" benchmarks/gpu_summary.py "$out" "$((SECONDS - begin))"
