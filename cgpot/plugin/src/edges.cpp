// SPDX-License-Identifier: GPL-2.0-or-later
// Compiled without contraction of products and sums: both forms round alike.
#include "edges.h"

#if defined(__GNUC__) && defined(__x86_64__)
#define CGPOT_AVX512 __attribute__((target("avx512f,avx512dq,avx512vl")))
#ifndef __clang__    // of values that the compiler's own header leaves undefined on purpose
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#endif

namespace cgpot {

namespace {

// Each candidate is written, and kept by moving on where it is an edge. Differences are those of
// double precision; all that follows is in T.
template <typename T>
std::size_t select_scalar(const Candidates &pairs, double scale, double cutsq,
                          std::int64_t *offsets, std::int64_t *neighbors, T *vectors)
{
  const T factor = static_cast<T>(scale), limit = static_cast<T>(cutsq);
  std::size_t edge = 0;
  for (std::size_t n = 0; n < pairs.centers; ++n) {
    offsets[n] = static_cast<std::int64_t>(edge);
    const double *xi = pairs.x + 3 * static_cast<std::size_t>(pairs.own[n]);
    const double x0 = xi[0], y0 = xi[1], z0 = xi[2];
    for (std::size_t c = pairs.first[n]; c < pairs.first[n + 1]; ++c) {
      const double *xj = pairs.x + 3 * static_cast<std::size_t>(pairs.atoms[c]);
      const T dx = static_cast<T>(xj[0] - x0) * factor;
      const T dy = static_cast<T>(xj[1] - y0) * factor;
      const T dz = static_cast<T>(xj[2] - z0) * factor;
      neighbors[edge] = pairs.nodes[c];
      vectors[3 * edge] = dx;
      vectors[3 * edge + 1] = dy;
      vectors[3 * edge + 2] = dz;
      edge += dx * dx + dy * dy + dz * dz < limit ? 1 : 0;
    }
  }
  offsets[pairs.centers] = static_cast<std::int64_t>(edge);
  return edge;
}

std::size_t near_scalar(const PointRows &all, const Row *rows, std::size_t count,
                        const float *own, float rangesq, int point, int *to, int *to_labels)
{
  const float x0 = own[0], y0 = own[1], z0 = own[2];
  std::size_t found = 0;
  for (const Row *row = rows; row != rows + count; ++row)
    for (std::size_t p = row->begin; p < row->end; ++p) {
      const float a = all.x[p] - x0, b = all.y[p] - y0, c = all.z[p] - z0;
      to[found] = all.points[p];
      to_labels[found] = all.labels[p];
      found += (a * a + b * b + c * c < rangesq) & (all.points[p] != point) ? 1 : 0;
    }
  return found;
}

template <typename T>
void sum_scalar(const T *gradient, const std::int64_t *offsets, const std::int64_t *neighbors,
                std::size_t centers, double *forces)
{
  for (std::size_t center = 0; center < centers; ++center) {
    double own[3] = {};
    for (std::int64_t e = offsets[center]; e < offsets[center + 1]; ++e) {
      const T *d = gradient + 3 * e;
      double *other = forces + 4 * neighbors[e];
      for (int k = 0; k < 3; ++k) {
        own[k] += static_cast<double>(d[k]);
        other[k] -= static_cast<double>(d[k]);
      }
    }
    double *here = forces + 4 * center;
    for (int k = 0; k < 3; ++k) here[k] += own[k];
  }
}

#ifdef CGPOT_AVX512
CGPOT_AVX512 inline __mmask8 first_of(std::size_t rest)
{
  return static_cast<__mmask8>(rest < 8 ? (1U << rest) - 1U : 255U);
}

CGPOT_AVX512 inline __mmask16 first_of_sixteen(std::size_t rest)
{
  return static_cast<__mmask16>(rest < 16 ? (1U << rest) - 1U : 65535U);
}

CGPOT_AVX512 inline __m512d square(__m512d a, __m512d b, __m512d c)
{
  return _mm512_add_pd(_mm512_add_pd(_mm512_mul_pd(a, a), _mm512_mul_pd(b, b)),
                       _mm512_mul_pd(c, c));
}

CGPOT_AVX512 inline __m512 square(__m512 a, __m512 b, __m512 c)
{
  return _mm512_add_ps(_mm512_add_ps(_mm512_mul_ps(a, a), _mm512_mul_ps(b, b)),
                       _mm512_mul_ps(c, c));
}

// x y z of eight edges one after another, from rows of x, of y and of z.
CGPOT_AVX512 inline void store(double *to, __m512d x, __m512d y, __m512d z)
{
  // from 8 on, of the second row
  const __m512i xy[3] = {_mm512_setr_epi64(0, 8, 0, 1, 9, 0, 2, 10),
                         _mm512_setr_epi64(0, 3, 11, 0, 4, 12, 0, 5),
                         _mm512_setr_epi64(13, 0, 6, 14, 0, 7, 15, 0)};
  const __m512i with_z[3] = {_mm512_setr_epi64(0, 1, 8, 3, 4, 9, 6, 7),
                             _mm512_setr_epi64(10, 1, 2, 11, 4, 5, 12, 7),
                             _mm512_setr_epi64(0, 13, 2, 3, 14, 5, 6, 15)};
  for (int k = 0; k < 3; ++k)
    _mm512_storeu_pd(to + 8 * k,
                     _mm512_permutex2var_pd(_mm512_permutex2var_pd(x, xy[k], y), with_z[k], z));
}

// The same of sixteen.
CGPOT_AVX512 inline void store(float *to, __m512 x, __m512 y, __m512 z)
{
  // from 16 on, of the second row
  const __m512i xy[3] = {_mm512_setr_epi32(0, 16, 0, 1, 17, 0, 2, 18, 0, 3, 19, 0, 4, 20, 0, 5),
                         _mm512_setr_epi32(21, 0, 6, 22, 0, 7, 23, 0, 8, 24, 0, 9, 25, 0, 10, 26),
                         _mm512_setr_epi32(0, 11, 27, 0, 12, 28, 0, 13, 29, 0, 14, 30, 0, 15, 31, 0)};
  const __m512i with_z[3] = {
      _mm512_setr_epi32(0, 1, 16, 3, 4, 17, 6, 7, 18, 9, 10, 19, 12, 13, 20, 15),
      _mm512_setr_epi32(0, 21, 2, 3, 22, 5, 6, 23, 8, 9, 24, 11, 12, 25, 14, 15),
      _mm512_setr_epi32(26, 1, 2, 27, 4, 5, 28, 7, 8, 29, 10, 11, 30, 13, 14, 31)};
  for (int k = 0; k < 3; ++k)
    _mm512_storeu_ps(to + 16 * k,
                     _mm512_permutex2var_ps(_mm512_permutex2var_ps(x, xy[k], y), with_z[k], z));
}

template <bool room> CGPOT_AVX512 inline __m256d position(const double *x, int atom)
{
  const double *from = x + 3 * static_cast<std::size_t>(atom);
  return room ? _mm256_loadu_pd(from) : _mm256_maskz_loadu_pd(7, from);
}

template <bool room>
CGPOT_AVX512 std::size_t select_wide(const Candidates &pairs, double scale, double cutsq,
                                     std::int64_t *offsets, std::int64_t *neighbors,
                                     double *vectors)
{
  const __m512d factor = _mm512_set1_pd(scale), limit = _mm512_set1_pd(cutsq);
  const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13),
                high = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
  const double *x = pairs.x;
  std::size_t edge = 0;
  for (std::size_t n = 0; n < pairs.centers; ++n) {
    offsets[n] = static_cast<std::int64_t>(edge);
    const double *xi = x + 3 * static_cast<std::size_t>(pairs.own[n]);
    const __m512d x0 = _mm512_set1_pd(xi[0]), y0 = _mm512_set1_pd(xi[1]),
                  z0 = _mm512_set1_pd(xi[2]);
    const std::size_t end = pairs.first[n + 1];
    for (std::size_t c = pairs.first[n]; c < end; c += 8) {
      const __mmask8 there = first_of(end - c);
      const int *from = pairs.atoms + c;
      // x y z of k and of k + 4; loads of their own are faster than gathering
      __m512d pair[4];
      for (int k = 0; k < 4; ++k)
        pair[k] = _mm512_insertf64x4(_mm512_castpd256_pd512(position<room>(x, from[k])),
                                     position<room>(x, from[k + 4]), 1);
      const __m512d xz[2] = {_mm512_unpacklo_pd(pair[0], pair[1]),
                             _mm512_unpacklo_pd(pair[2], pair[3])},
                    y[2] = {_mm512_unpackhi_pd(pair[0], pair[1]),
                            _mm512_unpackhi_pd(pair[2], pair[3])};
      const __m512d dx = _mm512_mul_pd(
          _mm512_sub_pd(_mm512_permutex2var_pd(xz[0], low, xz[1]), x0), factor);
      const __m512d dy = _mm512_mul_pd(
          _mm512_sub_pd(_mm512_permutex2var_pd(y[0], low, y[1]), y0), factor);
      const __m512d dz = _mm512_mul_pd(
          _mm512_sub_pd(_mm512_permutex2var_pd(xz[0], high, xz[1]), z0), factor);
      const __mmask8 in = _mm512_mask_cmp_pd_mask(there, square(dx, dy, dz), limit, _CMP_LT_OQ);
      const __m512i node = _mm512_cvtepi32_epi64(
          _mm256_maskz_compress_epi32(in, _mm256_maskz_loadu_epi32(there, pairs.nodes + c)));
      _mm512_storeu_si512(neighbors + edge, node);
      store(vectors + 3 * edge, _mm512_maskz_compress_pd(in, dx),
            _mm512_maskz_compress_pd(in, dy), _mm512_maskz_compress_pd(in, dz));
      edge += static_cast<std::size_t>(__builtin_popcount(in));
    }
  }
  offsets[pairs.centers] = static_cast<std::int64_t>(edge);
  return edge;
}

// x y z and what follows of two atoms, from those of a centre, in single precision.
template <bool room>
CGPOT_AVX512 inline __m256 differences(const double *x, int a, int b, __m512d center)
{
  const __m512d both =
      _mm512_insertf64x4(_mm512_castpd256_pd512(position<room>(x, a)), position<room>(x, b), 1);
  return _mm512_cvtpd_ps(_mm512_sub_pd(both, center));
}

template <bool room>
CGPOT_AVX512 std::size_t select_wide(const Candidates &pairs, double scale, double cutsq,
                                     std::int64_t *offsets, std::int64_t *neighbors, float *vectors)
{
  const __m512 factor = _mm512_set1_ps(static_cast<float>(scale)),
               limit = _mm512_set1_ps(static_cast<float>(cutsq));
  const double *x = pairs.x;
  std::size_t edge = 0;
  for (std::size_t n = 0; n < pairs.centers; ++n) {
    offsets[n] = static_cast<std::int64_t>(edge);
    const double *xi = x + 3 * static_cast<std::size_t>(pairs.own[n]);
    const __m512d center = _mm512_setr_pd(xi[0], xi[1], xi[2], 0.0, xi[0], xi[1], xi[2], 0.0);
    const std::size_t end = pairs.first[n + 1];
    for (std::size_t c = pairs.first[n]; c < end; c += 16) {
      const __mmask16 there = first_of_sixteen(end - c);
      const int *from = pairs.atoms + c;
      // of atoms k, k + 4, k + 8 and k + 12; then turned, each four of them
      __m512 row[4];
      for (int k = 0; k < 4; ++k)
        row[k] = _mm512_castpd_ps(_mm512_insertf64x4(
            _mm512_castpd256_pd512(
                _mm256_castps_pd(differences<room>(x, from[k], from[k + 4], center))),
            _mm256_castps_pd(differences<room>(x, from[k + 8], from[k + 12], center)), 1));
      const __m512d xy[2] = {_mm512_castps_pd(_mm512_unpacklo_ps(row[0], row[1])),
                             _mm512_castps_pd(_mm512_unpacklo_ps(row[2], row[3]))},
                    z[2] = {_mm512_castps_pd(_mm512_unpackhi_ps(row[0], row[1])),
                            _mm512_castps_pd(_mm512_unpackhi_ps(row[2], row[3]))};
      const __m512 dx = _mm512_mul_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(xy[0], xy[1])), factor),
                   dy = _mm512_mul_ps(_mm512_castpd_ps(_mm512_unpackhi_pd(xy[0], xy[1])), factor),
                   dz = _mm512_mul_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(z[0], z[1])), factor);
      const __mmask16 in = _mm512_mask_cmp_ps_mask(there, square(dx, dy, dz), limit, _CMP_LT_OQ);
      const __m512i node =
          _mm512_maskz_compress_epi32(in, _mm512_maskz_loadu_epi32(there, pairs.nodes + c));
      _mm512_storeu_si512(neighbors + edge, _mm512_cvtepi32_epi64(_mm512_castsi512_si256(node)));
      _mm512_storeu_si512(neighbors + edge + 8,
                          _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(node, 1)));
      store(vectors + 3 * edge, _mm512_maskz_compress_ps(in, dx), _mm512_maskz_compress_ps(in, dy),
            _mm512_maskz_compress_ps(in, dz));
      edge += static_cast<std::size_t>(__builtin_popcount(in));
    }
  }
  offsets[pairs.centers] = static_cast<std::int64_t>(edge);
  return edge;
}

template <typename T>
std::size_t select_avx512(const Candidates &pairs, double scale, double cutsq,
                          std::int64_t *offsets, std::int64_t *neighbors, T *vectors)
{
  return pairs.room ? select_wide<true>(pairs, scale, cutsq, offsets, neighbors, vectors)
                    : select_wide<false>(pairs, scale, cutsq, offsets, neighbors, vectors);
}

CGPOT_AVX512 std::size_t near_avx512(const PointRows &all, const Row *rows, std::size_t count,
                                     const float *own, float rangesq, int point, int *to,
                                     int *to_labels)
{
  const __m512 x0 = _mm512_set1_ps(own[0]), y0 = _mm512_set1_ps(own[1]),
               z0 = _mm512_set1_ps(own[2]), limit = _mm512_set1_ps(rangesq);
  const __m512i itself = _mm512_set1_epi32(point);
  std::size_t found = 0;
  for (const Row *row = rows; row != rows + count; ++row)
    for (std::size_t p = row->begin; p < row->end; p += 16) {
      const __mmask16 there = first_of_sixteen(row->end - p);
      const __m512 a = _mm512_sub_ps(_mm512_maskz_loadu_ps(there, all.x + p), x0),
                   b = _mm512_sub_ps(_mm512_maskz_loadu_ps(there, all.y + p), y0),
                   c = _mm512_sub_ps(_mm512_maskz_loadu_ps(there, all.z + p), z0);
      const __m512i index = _mm512_maskz_loadu_epi32(there, all.points + p);
      const __mmask16 other = _mm512_mask_cmpneq_epi32_mask(there, index, itself);
      const __mmask16 in = _mm512_mask_cmp_ps_mask(other, square(a, b, c), limit, _CMP_LT_OQ);
      _mm512_storeu_si512(to + found, _mm512_maskz_compress_epi32(in, index));
      _mm512_storeu_si512(
          to_labels + found,
          _mm512_maskz_compress_epi32(in, _mm512_maskz_loadu_epi32(there, all.labels + p)));
      found += static_cast<std::size_t>(__builtin_popcount(in));
    }
  return found;
}

CGPOT_AVX512 inline __m256d row(const double *gradient)
{
  return _mm256_maskz_loadu_pd(7, gradient);
}

CGPOT_AVX512 inline __m256d row(const float *gradient)
{
  return _mm256_cvtps_pd(_mm_maskz_loadu_ps(7, gradient));
}

template <typename T>
CGPOT_AVX512 void sum_avx512(const T *gradient, const std::int64_t *offsets,
                             const std::int64_t *neighbors, std::size_t centers, double *forces)
{
  for (std::size_t center = 0; center < centers; ++center) {
    __m256d own = _mm256_setzero_pd();
    for (std::int64_t e = offsets[center]; e < offsets[center + 1]; ++e) {
      const __m256d d = row(gradient + 3 * e);
      double *other = forces + 4 * neighbors[e];
      own = _mm256_add_pd(own, d);
      _mm256_storeu_pd(other, _mm256_sub_pd(_mm256_loadu_pd(other), d));
    }
    double *here = forces + 4 * center;
    _mm256_storeu_pd(here, _mm256_add_pd(_mm256_loadu_pd(here), own));
  }
}

constexpr PairLoops avx512_loops{select_avx512<double>, select_avx512<float>, near_avx512,
                                 sum_avx512<double>, sum_avx512<float>};
#endif

}    // namespace

const PairLoops scalar_loops{select_scalar<double>, select_scalar<float>, near_scalar,
                             sum_scalar<double>, sum_scalar<float>};

const PairLoops &pair_loops()
{
#ifdef CGPOT_AVX512
  static const bool wide = [] {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl");
  }();
  if (wide) return avx512_loops;
#endif
  return scalar_loops;
}

}    // namespace cgpot
