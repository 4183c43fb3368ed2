#!/usr/bin/env bash
# Everything that needs a CUDA machine, from a bare checkout, in under 8 minutes:
#
#     benchmarks/gpu_check.sh [--out FOLDER] [--only PART,PART] [--incomplete] [--memcheck] [WHEELS]
#     benchmarks/gpu_check.sh --dry-run
#
# Python 3.12 with NumPy, CuPy, PyTorch and JAX must be there; what else is missing is installed from
# the wheels in the folder WHEELS, into the output folder and without a network.  Each part has a time
# limit and the next one runs whatever happened; what matters most comes first, and a short table last.
# FOLDER (default: gpu-check) gets one log for each part, their JSON files, and summary.json, and
# FOLDER.tar.gz all of it.  What a part has measured when its time is over is kept: `--only compiled`
# then goes on with warm caches.
#
#     ready      nvmath-python, cuDNN's frontend and what they need; without them it ends here, for
#                the figures would mean nothing, unless --incomplete is given
#     kernels    pytest -m gpu: kernels, products, convolutions, recorded steps
#     claim      VGG-16 on the GPU and on all cores of the CPU
#     bench      the list compare-gpu: nnlib beside PyTorch eager and jax.jit, all on the GPU
#     bandwidth  kernels as shares of the copy rate, products and convolutions of the 8192³ one
#     compiled   as bench, beside torch.compile(mode="max-autotune")
#     tests      the other tests with -m gpu
#     memcheck   only if asked for: the kernels' tests under compute-sanitizer
#
# --dry-run starts every part on a machine without a GPU, small, on NumPy; the tests are collected.
set -uo pipefail

backend=cupy out=gpu-check only="" wheels="" incomplete="" memcheck=""
while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) backend=numpy; shift ;;
        --incomplete) incomplete=yes; shift ;;
        --memcheck) memcheck=yes; shift ;;
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
export PYTHONPATH="$PWD:$PWD/backends:$PWD/benchmarks:$PWD/tests:$PWD/tests/doubles:$out/site"
export MPLBACKEND=Agg PYTHONUNBUFFERED=1
rm -f "$out/bandwidth.json"
: >"$out/parts.tsv"
begin=$SECONDS

# part NAME LIMIT COMMAND…: run it for at most LIMIT seconds, keep its output, go on.
part() {
    local name=$1 limit=$2 start=$SECONDS code=0
    [ "$backend" = cupy ] || limit=$((4 * limit)) # a dry run only has to start everything
    shift 2
    case ",$only," in *,,* | *",$name,"*) ;; *) return 0 ;; esac
    printf '=== %s (at most %s s)\n' "$name" "$limit" >&2
    timeout -k 5 "$limit" "$@" >"$out/$name.log" 2>&1 || code=$?
    tail -n 3 "$out/$name.log" >&2
    printf '%s\t%s\t%s\n' "$name" "$code" "$((SECONDS - start))" >>"$out/parts.tsv"
    return "$code"
}

# has MODULE: whether Python can import it
has() {
    "$python" -c "
import importlib.util, sys
try:
    sys.exit(importlib.util.find_spec('$1') is None)
except ModuleNotFoundError:  # not even the package that it is in
    sys.exit(1)"
}

# What a bare image lacks, one package at a time: one that has no wheel here must not stop the others.
missing() {
    local pair module package
    for pair in scipy:scipy numba:numba llvmlite:llvmlite safetensors:safetensors click:click \
        rich:rich markdown_it:markdown-it-py mdurl:mdurl pygments:pygments pooch:pooch ml_dtypes:ml-dtypes \
        platformdirs:platformdirs requests:requests threadpoolctl:threadpoolctl psutil:psutil \
        packaging:packaging pytest:pytest xdist:pytest-xdist execnet:execnet iniconfig:iniconfig \
        pluggy:pluggy hypothesis:hypothesis sortedcontainers:sortedcontainers \
        matplotlib:matplotlib cudnn:nvidia-cudnn-frontend \
        nvmath:nvmath-python pynvml:nvidia-ml-py cuda.core:cuda-core; do
        module=${pair%%:*} package=${pair#*:}
        if has "$module"; then
            continue
        elif [ -z "$wheels" ]; then
            echo "missing: $package"
        else
            "$python" -m pip install --quiet --no-index --no-deps --find-links "$wheels" \
                --target "$out/site" "$package" || echo "no wheel for $package"
        fi
    done
}
export -f missing has
export python wheels out

# what a compiler of kernels has found out is kept for the next call on the same machine
export TORCHINDUCTOR_CACHE_DIR="$out/inductor" JAX_COMPILATION_CACHE_DIR="$out/jax"

# Of PEER:PACKAGE …, the peers whose package is there, with commas: one that is missing is no reason
# to measure nothing.
installed() {
    local pair found=""
    for pair in "$@"; do
        has "${pair#*:}" && found=$found,${pair%%:*}
    done
    echo "${found#,}"
}

part wheels 50 bash -c missing
part machine 15 "$python" -m nnlib info

ready=("$python" benchmarks/gpu_ready.py)
pytest=("$python" -m pytest --tb=short -p no:cacheprovider --continue-on-collection-errors
    -m "gpu and not peers")
has xdist && pytest+=(-n 8 --dist worksteal)
# what a GPU alone can tell comes first, then what holds on every backend
kernels=(tests/backends tests/jit)
tests=(tests/{models,benchmarks,ops,optim,nn,autograd,train,io,data,text,cli,examples,peers,test_*.py})
if [ "$backend" = cupy ]; then
    megabytes=512 largest=8192
    bench=(--backends cupy --peers "$(installed torch-cuda:torch jax-cuda:jax)" --workloads compare-gpu)
    compiled=(--backends cupy --peers "$(installed torch-compile-cuda:torch)"
        --workloads mlp-tiny,mlp-mnist,lenet-64,gpt2-124m@bf16,vgg16-b256@bf16,mlp-8192@bf16)
    claim=(--backends cupy,numpy --workloads vgg16-b8,vgg16-b256@bf16,mlp-tiny,mlp-mnist,lenet-64)
else
    ready=(bash -c '"$0" benchmarks/gpu_ready.py; case $? in 0 | 3) ;; *) exit 1 ;; esac' "$python")
    pytest+=(--collect-only -q) megabytes=1 largest=256
    bench=(--backends "$backend" --workloads mlp-tiny,mlp-tiny@bf16)
    compiled=(--backends "$backend" --workloads mlp-tiny)
    claim=(--backends "$backend" --workloads mlp-tiny)
fi

if ! part ready 15 "${ready[@]}" && [ -z "$incomplete" ]; then
    cat "$out/ready.log" >&2
    echo "gpu_check.sh: figures without these would mean nothing. --incomplete goes on without" >&2
    exit 3
fi
part kernels 100 "${pytest[@]}" "${kernels[@]}"
# PyTorch and JAX let attention's gradient differ from run to run, so nnlib may in the comparison, too
export NNLIB_CUDNN_DETERMINISTIC=0
# NumPy takes part in the claim only: its steps would take the time of all others
part claim 45 "$python" -m nnlib bench --quick "${claim[@]}" --out "$out/claim"
part bench 110 "$python" -m nnlib bench --quick "${bench[@]}" --out "$out/bench"
part bandwidth 45 "$python" benchmarks/gpu_bandwidth.py --backend "$backend" \
    --megabytes "$megabytes" --largest "$largest" --json "$out/bandwidth.json"
# apart from the others: it tries kernels out for minutes, and what it has found is kept
part compiled 50 "$python" -m nnlib bench --quick "${compiled[@]}" --out "$out/compiled"
unset NNLIB_CUDNN_DETERMINISTIC
part tests 45 "${pytest[@]}" "${tests[@]}"
if [ -n "$memcheck" ]; then
    part memcheck 60 compute-sanitizer --tool memcheck --error-exitcode 3 \
        "$python" -m pytest -q -x -p no:cacheprovider -m gpu tests/backends/cupy_backend/kernels
fi

code=0
"$python" benchmarks/gpu_summary.py "$out" "$((SECONDS - begin))" || code=$?
tar -czf "$out.tar.gz" -C "$(dirname "$out")" --exclude=site --exclude=inductor --exclude=jax \
    "$(basename "$out")" && echo "all of it: $out.tar.gz"
exit "$code"
