// SPDX-License-Identifier: GPL-2.0-or-later
// Compiled for each instruction set, for l up to 2 and up to 3 (CGPOT_MOST): CGPOT_KERNELS names what
// it gives.
#include "convolution.h"

#include "couplings3.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <iterator>
#include <new>
#include <utility>

namespace cgpot {
namespace {

// may alias: groups are read from and written to arrays of T
template <typename T> struct Group {
  typedef T type __attribute__((vector_size(lanes * sizeof(T)), aligned(sizeof(T)), may_alias));
};
template <typename T> using Vector = typename Group<T>::type;

constexpr int harmonics_length = (CGPOT_MOST + 1) * (CGPOT_MOST + 1);
constexpr double root3 = 1.7320508075688772, root5 = 2.23606797749979, root15 = 3.872983346207417;
constexpr double root7 = 2.6457513110645906, root105 = 10.246950765959598,
                 root21_8 = 1.6201851746019651, root35_8 = 2.0916500663351889;

template <typename T> inline T sum(const Vector<T> &v)
{
  return ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7]));
}

// d = sum_m g_m dY_m/du for the formulas above; the part along u is taken out by the caller.
template <typename T> inline void harmonics_gradient(int l_max, const T *u, const T *g, T *d)
{
  const T a = u[0], b = u[1], c = u[2];
  d[0] = d[1] = d[2] = 0;
  if (l_max < 1) return;
  for (int k = 0; k < 3; ++k) d[k] = T(root3) * g[1 + k];
  if (l_max < 2) return;
  d[0] += T(root15) * (c * g[4] + b * g[5] - a * g[8]) - T(root5) * a * g[6];
  d[1] += T(root15) * (a * g[5] + c * g[7]) + T(2 * root5) * b * g[6];
  d[2] += T(root15) * (a * g[4] + b * g[7] + c * g[8]) - T(root5) * c * g[6];
  if (l_max < 3) return;
  d[0] += T(3 * root35_8) * ((c * c - a * a) * g[9] - T(2) * a * c * g[15]) +
      T(root105) * b * (c * g[10] - a * g[14]) - T(3 * root7) * a * b * g[12] +
      T(root21_8) * ((T(4) * b * b - T(3) * a * a - c * c) * g[11] - T(2) * a * c * g[13]);
  d[1] += T(root105) * (a * c * g[10] + T(0.5) * (c * c - a * a) * g[14]) +
      T(8 * root21_8) * b * (a * g[11] + c * g[13]) +
      T(1.5 * root7) * (T(2) * b * b - a * a - c * c) * g[12];
  d[2] += T(3 * root35_8) * ((c * c - a * a) * g[15] + T(2) * a * c * g[9]) +
      T(root105) * b * (a * g[10] + c * g[14]) - T(3 * root7) * b * c * g[12] +
      T(root21_8) * ((T(4) * b * b - a * a - T(3) * c * c) * g[13] - T(2) * a * c * g[11]);
}

// No std::vector here: the linker keeps one copy of its code for all instruction sets.
template <typename T> class Buffer {
 public:
  Buffer() = default;
  ~Buffer() { std::free(data_); }
  Buffer(const Buffer &) = delete;
  Buffer &operator=(const Buffer &) = delete;
  void resize(std::size_t n)
  {
    std::free(data_);
    data_ = static_cast<T *>(std::malloc(n * sizeof(T)));
    if (!data_) throw std::bad_alloc();
  }
  T *data() const { return data_; }
  T &operator[](std::size_t i) const { return data_[i]; }

 private:
  T *data_ = nullptr;
};

// What the edges of one centre need, as long as the centre with most edges.
template <typename T> struct Work {
  Buffer<double> r;
  Buffer<T> inverse, unit;    // 1/r, three components one after another
  Buffer<T> y;                // harmonics, component by component
  Buffer<T> weight;           // four of the spline and four of its slope, one after another
  Buffer<int> interval;       // -1 beyond the cutoff
  Buffer<T> w, dw;            // radial functions and their slopes, groups of lanes
  Buffer<T> gy, gr;           // gradients of harmonics and of r, groups of lanes
  Buffer<T> gv;               // and of vectors, (edges, 3)
  Buffer<const T *> x;        // features of the neighbours
  Buffer<T *> gx;
  Buffer<T> row;              // of a centre, where rows are moved
  std::size_t length = 0;

  void reserve(std::size_t edges, const Plan &plan, bool derivative)
  {
    if (length >= edges) return;
    length = edges + edges / 4 + 8;
    const std::size_t row = static_cast<std::size_t>(plan.weight_groups) * lanes;
    r.resize(length);
    inverse.resize(length);
    unit.resize(3 * length);
    y.resize(harmonics_length * length);
    weight.resize(8 * length);
    interval.resize(length);
    w.resize(length * row);
    x.resize(length);
    if (!derivative) return;
    dw.resize(length * row);
    gy.resize(length * harmonics_length * lanes);
    gr.resize(length * lanes);
    gv.resize(3 * length);
    gx.resize(length);
  }
};

template <typename T> inline Vector<T> *groups(T *p) { return reinterpret_cast<Vector<T> *>(p); }
template <typename T> inline const Vector<T> *groups(const T *p)
{
  return reinterpret_cast<const Vector<T> *>(p);
}

// Distances and directions, in the precision of the vectors or of the results, whichever is more;
// loops without branches, for the compiler to make vectors of.
template <typename T, typename V>
void geometry(const V *vectors, int n, double *__restrict r, T *__restrict inverse,
              T *__restrict ux, T *__restrict uy, T *__restrict uz)
{
  using Number = decltype(V() + T());
  for (int e = 0; e < n; ++e) {
    const Number a = vectors[3 * e], b = vectors[3 * e + 1], c = vectors[3 * e + 2];
    const Number length = std::sqrt(a * a + b * b + c * c);
    const Number inv = Number(1) / length;
    r[e] = length;
    inverse[e] = static_cast<T>(inv);
    ux[e] = static_cast<T>(a * inv);
    uy[e] = static_cast<T>(b * inv);
    uz[e] = static_cast<T>(c * inv);
  }
}

// Real spherical harmonics, e3nn's order, sum of squares 2l + 1.
template <typename T>
void harmonics(int l_max, int n, const T *__restrict ux, const T *__restrict uy,
               const T *__restrict uz, T *__restrict y)
{
  for (int e = 0; e < n; ++e) y[e] = 1;
  if (l_max < 1) return;
  for (int e = 0; e < n; ++e) {
    y[n + e] = T(root3) * ux[e];
    y[2 * n + e] = T(root3) * uy[e];
    y[3 * n + e] = T(root3) * uz[e];
  }
  if (l_max < 2) return;
  for (int e = 0; e < n; ++e) {
    const T a = ux[e], b = uy[e], c = uz[e];
    y[4 * n + e] = T(root15) * a * c;
    y[5 * n + e] = T(root15) * a * b;
    y[6 * n + e] = T(root5) * (b * b - T(0.5) * (a * a + c * c));
    y[7 * n + e] = T(root15) * b * c;
    y[8 * n + e] = T(0.5 * root15) * (c * c - a * a);
  }
  if (l_max < 3) return;
  for (int e = 0; e < n; ++e) {
    const T a = ux[e], b = uy[e], c = uz[e], around = a * a + c * c;
    y[9 * n + e] = T(root35_8) * a * (T(3) * c * c - a * a);
    y[10 * n + e] = T(root105) * a * b * c;
    y[11 * n + e] = T(root21_8) * a * (T(4) * b * b - around);
    y[12 * n + e] = T(0.5 * root7) * b * (T(2) * b * b - T(3) * around);
    y[13 * n + e] = T(root21_8) * c * (T(4) * b * b - around);
    y[14 * n + e] = T(0.5 * root105) * b * (c * c - a * a);
    y[15 * n + e] = T(root35_8) * c * (c * c - T(3) * a * a);
  }
}

template <typename T>
void geometry(const Star &star, std::int64_t first, int n, double *r, T *inverse, T *ux, T *uy,
              T *uz)
{
  if (star.singles)
    geometry(star.singles + 3 * first, n, r, inverse, ux, uy, uz);
  else
    geometry(star.vectors + 3 * first, n, r, inverse, ux, uy, uz);
}

template <typename T, typename V> void copy(const T *__restrict from, int count, V *__restrict to)
{
  for (int k = 0; k < count; ++k) to[k] = static_cast<V>(from[k]);
}

// Gradients of n edges, from `first` on.
template <typename T> void copy(const T *from, int n, const EdgeGradient &to, std::int64_t first)
{
  if (to.singles)
    copy(from, 3 * n, to.singles + 3 * first);
  else
    copy(from, 3 * n, to.vectors + 3 * first);
}

// Interval of each distance, and the weights of the four splines there (and of their slopes).
template <bool derivative, typename T>
void basis(const double *__restrict r, int n, int intervals, double r_max, int *__restrict interval,
           T *__restrict weight)
{
  const double scale = intervals / r_max;
  const T sixth = T(1) / T(6), half = static_cast<T>(0.5 * scale);
  for (int e = 0; e < n; ++e) {
    const double position = r[e] * scale;
    const bool inside = r[e] < r_max;    // false for a distance that is not a number
    const double safe = inside ? position : 0.0;
    int first = static_cast<int>(safe);
    first = first < intervals - 1 ? first : intervals - 1;
    interval[e] = inside ? first : -1;
    const T t = static_cast<T>(safe - first), s = T(1) - t;
    weight[e] = s * s * s * sixth;
    weight[n + e] = (T(3) * t * t * t - T(6) * t * t + T(4)) * sixth;
    weight[2 * n + e] = (T(3) * s * s * s - T(6) * s * s + T(4)) * sixth;
    weight[3 * n + e] = t * t * t * sixth;
    if constexpr (derivative) {
      weight[4 * n + e] = -s * s * half;
      weight[5 * n + e] = (T(3) * t * t - T(4) * t) * half;
      weight[6 * n + e] = -(T(3) * s * s - T(4) * s) * half;
      weight[7 * n + e] = t * t * half;
    }
  }
}

// What depends on the edges of a centre alone.
template <bool derivative, typename T>
void prepare(const Plan &plan, const RadialTable<T> &table, const Star &star, std::int64_t first,
             int n, Work<T> &work)
{
  T *unit = work.unit.data();
  geometry(star, first, n, work.r.data(), work.inverse.data(), unit, unit + n, unit + 2 * n);
  harmonics(plan.l_max, n, unit, unit + n, unit + 2 * n, work.y.data());
  basis<derivative>(work.r.data(), n, table.intervals, table.r_max, work.interval.data(),
                    work.weight.data());
}

// The radial functions of each edge.
template <bool derivative, typename T>
void radial(const Plan &plan, const RadialTable<T> &table, int n, Work<T> &work)
{
  const int width = plan.weight_groups;
  const T *b = work.weight.data();
  for (int e = 0; e < n; ++e) {
    const std::size_t at = static_cast<std::size_t>(e) * static_cast<std::size_t>(width);
    Vector<T> *w = groups(work.w.data()) + at;
    Vector<T> *dw = derivative ? groups(work.dw.data()) + at : nullptr;
    const int first = work.interval[static_cast<std::size_t>(e)];
    if (first < 0) {
      const double r = work.r[static_cast<std::size_t>(e)];
      const T value = r >= table.r_max ? T(0) : static_cast<T>(r);    // what is no number stays so
      for (int k = 0; k < width; ++k) {
        w[k] = Vector<T>{} + value;
        if (derivative) dw[k] = Vector<T>{} + value;
      }
      continue;
    }
    const Vector<T> *row =
        groups(table.rows) + static_cast<std::size_t>(first) * static_cast<std::size_t>(width);
    const T b0 = b[e], b1 = b[n + e], b2 = b[2 * n + e], b3 = b[3 * n + e];
    if constexpr (derivative) {
      const T d0 = b[4 * n + e], d1 = b[5 * n + e], d2 = b[6 * n + e], d3 = b[7 * n + e];
      for (int k = 0; k < width; ++k) {
        const Vector<T> c0 = row[k], c1 = row[k + width], c2 = row[k + 2 * width],
                        c3 = row[k + 3 * width];
        w[k] = c0 * b0 + c1 * b1 + c2 * b2 + c3 * b3;
        dw[k] = c0 * d0 + c1 * d1 + c2 * d2 + c3 * d3;
      }
    } else {
      for (int k = 0; k < width; ++k)
        w[k] = row[k] * b0 + row[k + width] * b1 + row[k + 2 * width] * b2 + row[k + 3 * width] * b3;
    }
  }
}

template <int L1, int L2, int L3, typename T>
void forward_path(const Path &path, int width, const Work<T> &work, int n, Vector<T> *out)
{
  constexpr auto &list = Couplings<L1, L2, L3>::list;
  const int stride = path.groups;
  for (int b = 0; b < stride; ++b) {
    Vector<T> total[2 * L3 + 1] = {};
    const Vector<T> *w_row = groups(work.w.data()) + path.weight + b;
    const T *y = work.y.data() + L2 * L2 * n;
    for (int e = 0; e < n; ++e, ++y, w_row += width) {
      const Vector<T> w = *w_row;
      const Vector<T> *x = groups(work.x[static_cast<std::size_t>(e)]) + path.in + b;
      Vector<T> xw[2 * L1 + 1];
      for (int m = 0; m <= 2 * L1; ++m) xw[m] = x[m * stride] * w;
      [&]<std::size_t... I>(std::index_sequence<I...>) {
        ((total[list[I].m3] += xw[list[I].m1] * (T(list[I].value) * y[list[I].m2 * n])), ...);
      }(std::make_index_sequence<std::size(list)>{});
    }
    for (int m = 0; m <= 2 * L3; ++m) out[path.out + m * stride + b] = total[m];
  }
}

template <int L1, int L2, int L3, bool need_x, int components, typename T>
void backward_path(const Path &path, int width, Work<T> &work, int n, const Vector<T> *grad_out)
{
  constexpr auto &list = Couplings<L1, L2, L3>::list;
  const int stride = path.groups;
  for (int b = 0; b < stride; ++b) {
    Vector<T> g[2 * L3 + 1];
    for (int m = 0; m <= 2 * L3; ++m) g[m] = grad_out[path.out + m * stride + b];
    const Vector<T> *w_row = groups(work.w.data()) + path.weight + b;
    const Vector<T> *dw_row = groups(work.dw.data()) + path.weight + b;
    const T *y = work.y.data() + L2 * L2 * n;
    for (int e = 0; e < n; ++e, ++y, w_row += width, dw_row += width) {
      const Vector<T> w = *w_row, dw = *dw_row;
      const Vector<T> *x = groups(work.x[static_cast<std::size_t>(e)]) + path.in + b;
      Vector<T> xv[2 * L1 + 1];
      for (int m = 0; m <= 2 * L1; ++m) xv[m] = x[m * stride];
      Vector<T> of_y[2 * L2 + 1] = {}, of_x[2 * L1 + 1] = {};
      [&]<std::size_t... I>(std::index_sequence<I...>) {
        ((of_y[list[I].m2] += xv[list[I].m1] * g[list[I].m3] * T(list[I].value)), ...);
        if constexpr (need_x)
          ((of_x[list[I].m1] += g[list[I].m3] * (T(list[I].value) * y[list[I].m2 * n])), ...);
      }(std::make_index_sequence<std::size(list)>{});
      Vector<T> of_w{};
      Vector<T> *gy = groups(work.gy.data()) + e * components + L2 * L2;
      for (int m = 0; m <= 2 * L2; ++m) {
        of_w += of_y[m] * y[m * n];
        if constexpr (L2 > 0) gy[m] += of_y[m] * w;
      }
      groups(work.gr.data())[e] += of_w * dw;
      if constexpr (need_x) {
        Vector<T> *gx = groups(work.gx[static_cast<std::size_t>(e)]) + path.in + b;
        for (int m = 0; m <= 2 * L1; ++m) gx[m * stride] += of_x[m] * w;
      }
    }
  }
}

constexpr int code(int l1, int l2, int l3) { return 16 * l1 + 4 * l2 + l3; }

constexpr int most = CGPOT_MOST;

template <typename F> inline void dispatch(const Path &path, F &&f)
{
#define CGPOT_PATH(a, b, c)                                 \
  case code(a, b, c):                                       \
    if constexpr (a <= most && b <= most && c <= most)      \
      f.template operator()<a, b, c>();                     \
    return;
  switch (code(path.l1, path.l2, path.l3)) {
    CGPOT_PATH(0, 0, 0) CGPOT_PATH(0, 1, 1) CGPOT_PATH(0, 2, 2) CGPOT_PATH(1, 0, 1)
    CGPOT_PATH(1, 1, 0) CGPOT_PATH(1, 1, 1) CGPOT_PATH(1, 1, 2) CGPOT_PATH(1, 2, 1)
    CGPOT_PATH(1, 2, 2) CGPOT_PATH(2, 0, 2) CGPOT_PATH(2, 1, 1) CGPOT_PATH(2, 1, 2)
    CGPOT_PATH(2, 2, 0) CGPOT_PATH(2, 2, 1) CGPOT_PATH(2, 2, 2)
    CGPOT_PATH(0, 3, 3) CGPOT_PATH(1, 2, 3) CGPOT_PATH(1, 3, 2) CGPOT_PATH(1, 3, 3)
    CGPOT_PATH(2, 1, 3) CGPOT_PATH(2, 2, 3) CGPOT_PATH(2, 3, 1) CGPOT_PATH(2, 3, 2)
    CGPOT_PATH(2, 3, 3) CGPOT_PATH(3, 0, 3) CGPOT_PATH(3, 1, 2) CGPOT_PATH(3, 1, 3)
    CGPOT_PATH(3, 2, 1) CGPOT_PATH(3, 2, 2) CGPOT_PATH(3, 2, 3) CGPOT_PATH(3, 3, 0)
    CGPOT_PATH(3, 3, 1) CGPOT_PATH(3, 3, 2) CGPOT_PATH(3, 3, 3)
  }
#undef CGPOT_PATH
}

template <typename T>
void forward(const Plan &plan, const Star &star, const Network<T> *members, int count,
             std::int64_t begin, std::int64_t end)
{
  Work<T> work;
  const std::size_t in = static_cast<std::size_t>(plan.in_groups) * lanes;
  const std::size_t width = static_cast<std::size_t>(plan.out_groups) * lanes;
  if (members[0].out.move) work.row.resize(width);
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t first = star.offsets[i];
    const auto n = static_cast<int>(star.offsets[i + 1] - first);
    work.reserve(static_cast<std::size_t>(n), plan, false);
    prepare<false>(plan, members[0].table, star, first, n, work);
    for (const Network<T> *member = members; member != members + count; ++member) {
      radial<false>(plan, member->table, n, work);
      for (int e = 0; e < n; ++e)
        work.x[static_cast<std::size_t>(e)] =
            member->x + static_cast<std::size_t>(star.neighbors[first + e]) * in;
      const RowsOf<T, void> &out = member->out;
      T *target = out.move ? work.row.data() : out.rows + static_cast<std::size_t>(i) * width;
      Vector<T> *row = groups(target);
      for (std::size_t k = 0; k < plan.paths.size(); ++k) {
        const Path &path = plan.paths[k];
        dispatch(path, [&]<int A, int B, int C>() {
          forward_path<A, B, C, T>(path, plan.weight_groups, work, n, row);
        });
      }
      if (out.move) out.move(out.context, i, target);
    }
  }
}

template <typename T>
void backward(const Plan &plan, const Star &star, const Network<T> *members, int count,
              std::int64_t begin, std::int64_t end)
{
  Work<T> work;
  const std::size_t in = static_cast<std::size_t>(plan.in_groups) * lanes;
  const std::size_t width = static_cast<std::size_t>(plan.out_groups) * lanes;
  if (members[0].grad_out.move) work.row.resize(width);
  constexpr int components = harmonics_length;
  const int used = (plan.l_max + 1) * (plan.l_max + 1);
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t first = star.offsets[i];
    const auto n = static_cast<int>(star.offsets[i + 1] - first);
    work.reserve(static_cast<std::size_t>(n), plan, true);
    prepare<true>(plan, members[0].table, star, first, n, work);
    for (const Network<T> *member = members; member != members + count; ++member) {
      radial<true>(plan, member->table, n, work);
      T *grad_x = member->grad_x;
      for (int e = 0; e < n; ++e) {
        const std::size_t at = static_cast<std::size_t>(star.neighbors[first + e]) * in;
        work.x[static_cast<std::size_t>(e)] = member->x + at;
        if (grad_x) work.gx[static_cast<std::size_t>(e)] = grad_x + at;
        groups(work.gr.data())[e] = Vector<T>{};
        for (int m = 1; m < used; ++m)
          groups(work.gy.data())[e * components + m] = Vector<T>{};
      }
      const RowsOf<const T, const void> &grad_out = member->grad_out;
      if (grad_out.move) grad_out.move(grad_out.context, i, work.row.data());
      const Vector<T> *row = groups(static_cast<const T *>(
          grad_out.move ? work.row.data() : grad_out.rows + static_cast<std::size_t>(i) * width));
      for (std::size_t k = 0; k < plan.paths.size(); ++k) {
        const Path &path = plan.paths[k];
        dispatch(path, [&]<int A, int B, int C>() {
          if (grad_x)
            backward_path<A, B, C, true, components, T>(path, plan.weight_groups, work, n, row);
          else
            backward_path<A, B, C, false, components, T>(path, plan.weight_groups, work, n, row);
        });
      }
      const T *unit = work.unit.data();
      T *g = work.gv.data();
      for (int e = 0; e < n; ++e, g += 3) {
        T gy[components] = {}, d[3];
        for (int m = 1; m < used; ++m)
          gy[m] = sum<T>(groups(work.gy.data())[e * components + m]);
        const T u[3] = {unit[e], unit[n + e], unit[2 * n + e]};
        harmonics_gradient(plan.l_max, u, gy, d);
        const T along = d[0] * u[0] + d[1] * u[1] + d[2] * u[2];
        const T slope = sum<T>(groups(work.gr.data())[e]);
        const T inverse = work.inverse[static_cast<std::size_t>(e)];
        for (int k = 0; k < 3; ++k) g[k] = slope * u[k] + (d[k] - along * u[k]) * inverse;
      }
      copy(work.gv.data(), n, member->grad_edges, first);
    }
  }
}

#if CGPOT_MOST == 2
// Edges of a pair potential in blocks: distances and weights as vectors, then the coefficients.
constexpr int block = 128;

struct PairBlock {
  double gradient[3 * block];
  double r[block], inverse[block], ux[block], uy[block], uz[block], weight[8 * block];
  int interval[block];
};

// Looks at the edges in blocks, with their distances and weights in `work`. Calls `run` with the edges
// of each centre in a block: from which edge of the block to which, their number in the block, the
// centre and its rows of pairs of types; then `done` with the first edge of the block and the number.
template <bool derivative, typename Run, typename Done>
void in_blocks(const PairTable &table, const Star &star, std::int64_t begin, std::int64_t end,
               PairBlock &work, Run &&run, Done &&done)
{
  const std::int64_t last = star.offsets[end];
  std::int64_t i = begin;
  for (std::int64_t start = star.offsets[begin]; start < last; start += block) {
    const int n = static_cast<int>(last - start < block ? last - start : block);
    geometry(star, start, n, work.r, work.inverse, work.ux, work.uy, work.uz);
    basis<derivative>(work.r, n, table.intervals, table.r_max, work.interval, work.weight);
    for (int e = 0; e < n;) {
      while (star.offsets[i + 1] <= start + e) ++i;
      const std::int64_t rest = star.offsets[i + 1] - start;
      const int stop = rest < n ? static_cast<int>(rest) : n;
      run(e, stop, n, i, table.rows + table.types[i] * table.kinds, star.neighbors + start);
      e = stop;
    }
    done(start, n);
  }
}

inline const double *coefficients_of(const PairTable &table, std::int64_t row, int first)
{
  return table.coefficients + row * (table.intervals + 3) + first;
}

void pair_forward(const PairTable &table, const Star &star, std::int64_t begin, std::int64_t end,
                  double *energy)
{
  PairBlock work;
  in_blocks<false>(
      table, star, begin, end, work,
      [&](int e, int stop, int n, std::int64_t i, const std::int64_t *rows,
          const std::int64_t *neighbors) {
        const double *b = work.weight;
        double sum = 0.0;
        for (; e < stop; ++e) {
          if (work.interval[e] < 0) {
            if (!(work.r[e] >= table.r_max)) sum += work.r[e];    // not a number
            continue;
          }
          const double *c =
              coefficients_of(table, rows[table.types[neighbors[e]]], work.interval[e]);
          sum += 0.5 * (c[0] * b[e] + c[1] * b[n + e] + c[2] * b[2 * n + e] + c[3] * b[3 * n + e]);
        }
        energy[i] += sum;
      },
      [](std::int64_t, int) {});
}

void pair_backward(const PairTable &table, const Star &star, std::int64_t begin, std::int64_t end,
                   const double *grad, const EdgeGradient &grad_edges)
{
  PairBlock work;
  in_blocks<true>(
      table, star, begin, end, work,
      [&](int e, int stop, int n, std::int64_t i, const std::int64_t *rows,
          const std::int64_t *neighbors) {
        const double *d = work.weight + 4 * n;
        const double half = 0.5 * grad[i];
        for (; e < stop; ++e) {
          double slope = 0.0;
          if (work.interval[e] >= 0) {
            const double *c =
                coefficients_of(table, rows[table.types[neighbors[e]]], work.interval[e]);
            slope = half *
                (c[0] * d[e] + c[1] * d[n + e] + c[2] * d[2 * n + e] + c[3] * d[3 * n + e]);
          }
          work.gradient[3 * e] = slope * work.ux[e];
          work.gradient[3 * e + 1] = slope * work.uy[e];
          work.gradient[3 * e + 2] = slope * work.uz[e];
        }
      },
      [&](std::int64_t start, int n) { copy(work.gradient, n, grad_edges, start); });
}

#endif

}    // namespace

extern const Kernels<float> CGPOT_KERNELS(float);
extern const Kernels<double> CGPOT_KERNELS(double);
const Kernels<float> CGPOT_KERNELS(float) = {forward<float>, backward<float>};
const Kernels<double> CGPOT_KERNELS(double) = {forward<double>, backward<double>};
#if CGPOT_MOST == 2
extern const PairKernels CGPOT_KERNELS(pair);
const PairKernels CGPOT_KERNELS(pair) = {pair_forward, pair_backward};
#endif

}    // namespace cgpot
