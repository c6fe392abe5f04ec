// SPDX-License-Identifier: GPL-2.0-or-later
// Which of the compiled kernels this processor runs.
#include "convolution.h"

#include <algorithm>

namespace cgpot {

extern const Kernels<float> base_float_2, base_float_3;
extern const Kernels<double> base_double_2, base_double_3;
extern const PairKernels base_pair_2;
#ifdef CGPOT_X86
extern const Kernels<float> avx2_float_2, avx2_float_3, avx512_float_2, avx512_float_3;
extern const Kernels<double> avx2_double_2, avx2_double_3, avx512_double_2, avx512_double_3;
extern const PairKernels avx2_pair_2, avx512_pair_2;
#endif

int Plan::largest() const
{
  int l = l_max;
  for (const Path &p : paths) l = std::max({l, p.l1, p.l2, p.l3});
  return l;
}

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

}    // namespace

template <> const Kernels<float> &kernels<float>(const Plan &plan)
{
  const bool three = plan.largest() > 2;
#ifdef CGPOT_X86
  if (level() == Level::avx512) return three ? avx512_float_3 : avx512_float_2;
  if (level() == Level::avx2) return three ? avx2_float_3 : avx2_float_2;
#endif
  return three ? base_float_3 : base_float_2;
}

template <> const Kernels<double> &kernels<double>(const Plan &plan)
{
  const bool three = plan.largest() > 2;
#ifdef CGPOT_X86
  if (level() == Level::avx512) return three ? avx512_double_3 : avx512_double_2;
  if (level() == Level::avx2) return three ? avx2_double_3 : avx2_double_2;
#endif
  return three ? base_double_3 : base_double_2;
}

const PairKernels &pair_kernels()
{
#ifdef CGPOT_X86
  if (level() == Level::avx512) return avx512_pair_2;
  if (level() == Level::avx2) return avx2_pair_2;
#endif
  return base_pair_2;
}

}    // namespace cgpot
