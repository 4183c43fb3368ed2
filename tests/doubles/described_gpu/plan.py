"""Plan a program's problems for an H100; see `described_gpu.plans`."""

import ctypes
import json
import runpy
import sys

H100 = """{"deviceName": "NVIDIA H100 80GB HBM3", "cudaDeviceId": 0, "deviceVer": 900,
"driverVer": 12080, "isTccDriver": 0, "supportCoopLaunch": 1, "multiProcessorCount": 132,
"warpSize": 32, "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64],
"regsPerBlock": 65536, "maxRegistersPerSM": 65536, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024,
"maxThreadsPerSM": 2048, "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 232448,
"reservedSharedMemoryPerBlock": 1024, "oversizedSharedMemoryPerBlock": 0, "l2CacheSize": 52428800,
"totalGlobalMem": 84974239744, "smClockRateKHz": 1980000, "memClockRateKHz": 2619000,
"memoryBusWidth": 5120, "pciDeviceId": 9008}"""


def main(program, by_name, driver):
    """Print a JSON object: label → name and workspace of the plan, or the error.

    Where a label contains ``by_name``, the first three candidates are also built by name.
    """
    if driver:
        ctypes.CDLL(driver, ctypes.RTLD_GLOBAL)
    import cudnn

    from nnlib_backends.cupy_backend.cudnn import graphs

    where = {"device_property": cudnn.create_device_properties(H100), "sm_version": 90}
    found = {}
    for label, problem in runpy.run_path(program)["problems"]().items():
        try:
            graph = graphs.build(cudnn, problem, **where)
        except cudnn.cudnnGraphNotSupportedError as error:
            found[label] = {"error": str(error)[:500]}
            continue
        found[label] = {"name": chosen(graph), "workspace": graph.get_workspace_size()}
        if by_name in label:
            others = graphs.names(graph)[:3]
            again = [chosen(graphs.build(cudnn, problem, name, **where)) for name in others]
            found[label]["by_name"] = sum(map(str.__eq__, again, others))
    print(json.dumps(found))


def chosen(graph):
    """Return the name of the plan that a graph would execute."""
    return graph.get_plan_name_at_index(graph._plan_index)


if __name__ == "__main__":
    main(*sys.argv[1:])
