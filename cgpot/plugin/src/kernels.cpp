// SPDX-License-Identifier: GPL-2.0-or-later
// Which of the compiled kernels this processor runs.
#include "convolution.h"

namespace cgpot {

extern const Kernels<float> base_float;
extern const Kernels<double> base_double;
extern const PairKernels base_pair;
#ifdef CGPOT_X86
extern const Kernels<float> avx2_float, avx512_float;
extern const Kernels<double> avx2_double, avx512_double;
extern const PairKernels avx2_pair, avx512_pair;
#endif

bool Plan::supported() const
{
  for (const Path &p : paths) {
    if (p.l1 > 3 || p.l2 > 3 || p.l3 > 3 || p.l1 < 0 || p.l2 < 0 || p.l3 < 0) return false;
    if (p.l3 < (p.l1 > p.l2 ? p.l1 - p.l2 : p.l2 - p.l1) || p.l3 > p.l1 + p.l2) return false;
    if (p.l2 > l_max) return false;
  }
  return l_max >= 0 && l_max <= 3;
}

namespace {

enum class Level { base, avx2, avx512 };

Level level()
{
#ifdef CGPOT_X86
  static const Level found = [] {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
      return Level::avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Level::avx2;
    return Level::base;
  }();
  return found;
#else
  return Level::base;
#endif
}

const char *level_name()
{
  switch (level()) {
    case Level::avx512: return "AVX-512";
    case Level::avx2: return "AVX2";
    default: return "baseline";
  }
}

}    // namespace

template <> const Kernels<float> &kernels<float>(const char **name)
{
  if (name) *name = level_name();
#ifdef CGPOT_X86
  if (level() == Level::avx512) return avx512_float;
  if (level() == Level::avx2) return avx2_float;
#endif
  return base_float;
}

template <> const Kernels<double> &kernels<double>(const char **name)
{
  if (name) *name = level_name();
#ifdef CGPOT_X86
  if (level() == Level::avx512) return avx512_double;
  if (level() == Level::avx2) return avx2_double;
#endif
  return base_double;
}

const PairKernels &pair_kernels()
{
#ifdef CGPOT_X86
  if (level() == Level::avx512) return avx512_pair;
  if (level() == Level::avx2) return avx2_pair;
#endif
  return base_pair;
}

}    // namespace cgpot
