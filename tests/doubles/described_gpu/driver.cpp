// A substitute for the driver's library, for planning without a GPU.
//
// cuDNN looks these functions up when it loads, and prepares kernels with some of them. Nothing is
// launched.
static int something;

#define SUCCEEDS(name) extern "C" int name() { return 0; }
#define HANDS_OUT(name) extern "C" int name(void** made) { *made = &something; return 0; }
#define SAYS(name) \
    extern "C" int name(int, const char** text) { *text = "there is no GPU"; return 0; }
#define COUNTS(name, number) extern "C" int name(int* count) { *count = number; return 0; }

COUNTS(cuDriverGetVersion, 13000)
COUNTS(cuDeviceGetCount, 0)
SAYS(cuGetErrorName)
SAYS(cuGetErrorString)

HANDS_OUT(cuCtxGetCurrent)
HANDS_OUT(cuKernelGetFunction)
HANDS_OUT(cuLibraryGetKernel)
HANDS_OUT(cuLibraryLoadData)
HANDS_OUT(cuLibraryLoadFromFile)
HANDS_OUT(cuLinkCreate)
HANDS_OUT(cuModuleGetFunction)
HANDS_OUT(cuModuleLoadData)
HANDS_OUT(cuStreamGetCtx)

SUCCEEDS(cuCtxGetLimit)
SUCCEEDS(cuCtxPopCurrent)
SUCCEEDS(cuCtxPushCurrent)
SUCCEEDS(cuDeviceGet)
SUCCEEDS(cuKernelGetAttribute)
SUCCEEDS(cuKernelSetAttribute)
SUCCEEDS(cuLaunchCooperativeKernel)
SUCCEEDS(cuLaunchKernel)
SUCCEEDS(cuLaunchKernelEx)
SUCCEEDS(cuLibraryUnload)
SUCCEEDS(cuLinkAddData)
SUCCEEDS(cuLinkComplete)
SUCCEEDS(cuLinkDestroy)
SUCCEEDS(cuModuleUnload)
SUCCEEDS(cuOccupancyMaxPotentialClusterSize)
SUCCEEDS(cuTensorMapEncodeIm2col)
SUCCEEDS(cuTensorMapEncodeTiled)
