// What the processor has, as the operating system tells it.
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
bool walle_has_fp16() { return getauxval(AT_HWCAP) >> 10 & 1; }
bool walle_has_dotprod() { return getauxval(AT_HWCAP) >> 20 & 1; }
bool walle_has_i8mm() { return getauxval(AT_HWCAP2) >> 13 & 1; }
bool walle_has_bf16() { return getauxval(AT_HWCAP2) >> 14 & 1; }
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
static bool walle_has(const char* name) {
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}
bool walle_has_fp16() { return walle_has("hw.optional.arm.FEAT_FP16"); }
bool walle_has_dotprod() { return walle_has("hw.optional.arm.FEAT_DotProd"); }
bool walle_has_i8mm() { return walle_has("hw.optional.arm.FEAT_I8MM"); }
bool walle_has_bf16() { return walle_has("hw.optional.arm.FEAT_BF16"); }
#else  // the operating system does not tell: the table that every AArch64 runs
bool walle_has_fp16() { return false; }
bool walle_has_dotprod() { return false; }
bool walle_has_i8mm() { return false; }
bool walle_has_bf16() { return false; }
#endif
