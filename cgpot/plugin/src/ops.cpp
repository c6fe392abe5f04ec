// SPDX-License-Identifier: GPL-2.0-or-later
// The operators of compiled models, for torch: cgpot::convolve, cgpot::exchange and their
// derivatives. cgpot/deploy/operators.py says what they take and gives their autograd formulas.
#include "convolution.h"
#include "exchange.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

namespace cgpot {

namespace {

thread_local const Evaluation *current = nullptr;

Exchanger *exchanger()
{
  return current ? current->exchanger : nullptr;
}

struct Irrep {
  int l, channels, groups;
  int offset;    // in e3nn's row: channels x (2l + 1), m fastest
  int start;     // first group in the packed row: (2l + 1) x groups
};

int padded_groups(int channels)
{
  return (channels + lanes - 1) / lanes;
}

// Rows as e3nn has them <-> rows in groups of lanes.
struct Layout {
  std::vector<Irrep> irreps;
  int width = 0;     // of e3nn's row
  int groups = 0;    // of the packed row
  bool same = true;

  int add(int l, int channels)
  {
    const int n = padded_groups(channels);
    irreps.push_back({l, channels, n, width, groups});
    width += channels * (2 * l + 1);
    groups += n * (2 * l + 1);
    same = same && (l == 0 || channels == 1) && channels % lanes == 0;
    return static_cast<int>(irreps.size()) - 1;
  }

  template <typename T> void pack(const T *from, T *to) const
  {
    for (const Irrep &p : irreps) {
      const int m_count = 2 * p.l + 1, length = p.groups * lanes;
      for (int m = 0; m < m_count; ++m) {
        T *row = to + (static_cast<std::size_t>(p.start) + static_cast<std::size_t>(m * p.groups)) * lanes;
        const T *source = from + p.offset + m;
        for (int u = 0; u < p.channels; ++u) row[u] = source[u * m_count];
        for (int u = p.channels; u < length; ++u) row[u] = T(0);
      }
    }
  }

  template <typename T> void unpack(const T *from, T *to) const
  {
    for (const Irrep &p : irreps) {
      const int m_count = 2 * p.l + 1;
      for (int m = 0; m < m_count; ++m) {
        const T *row = from + (static_cast<std::size_t>(p.start) + static_cast<std::size_t>(m * p.groups)) * lanes;
        T *target = to + p.offset + m;
        for (int u = 0; u < p.channels; ++u) target[u * m_count] = row[u];
      }
    }
  }
};

// plan: l_max of the edges, number of irreps of x, then (l, channels) of each, then (input, l of the
// edge, l of the result) of each path. Results and table rows stand in the order of the paths.
struct Step {
  Plan plan;
  Layout in, out;

  explicit Step(at::IntArrayRef code)
  {
    TORCH_CHECK(code.size() >= 2, "cgpot::convolve: the plan is too short");
    plan.l_max = static_cast<int>(code[0]);
    const auto count = static_cast<std::size_t>(code[1]);
    TORCH_CHECK(code.size() >= 2 + 2 * count && (code.size() - 2 - 2 * count) % 3 == 0,
                "cgpot::convolve: the plan has a wrong length");
    for (std::size_t k = 0; k < count; ++k)
      in.add(static_cast<int>(code[2 + 2 * k]), static_cast<int>(code[3 + 2 * k]));
    for (std::size_t k = 2 + 2 * count; k < code.size(); k += 3) {
      TORCH_CHECK(code[k] >= 0 && code[k] < static_cast<std::int64_t>(count),
                  "cgpot::convolve: a path takes an input that is not there");
      const Irrep &source = in.irreps[static_cast<std::size_t>(code[k])];
      const int l3 = static_cast<int>(code[k + 2]);
      const Irrep &result = out.irreps[static_cast<std::size_t>(out.add(l3, source.channels))];
      plan.paths.push_back({source.l, static_cast<int>(code[k + 1]), l3, source.groups,
                            source.start, result.start, plan.weight_groups});
      plan.weight_groups += source.groups;
    }
    plan.in_groups = in.groups;
    plan.out_groups = out.groups;
    TORCH_CHECK(plan.supported(), "cgpot::convolve: a path beyond l = 3");
  }
};

// Where a tensor of vectors of edges, or of gradients, has its numbers.
template <typename To, typename Tensor> To edge_rows(const Tensor &edges, std::int64_t first = 0)
{
  To to;
  if (edges.scalar_type() == at::kFloat)
    to.singles = edges.template data_ptr<float>() + 3 * first;
  else
    to.vectors = edges.template data_ptr<double>() + 3 * first;
  return to;
}

// Edges by centre: offsets, and the neighbours and vectors in that order. Of the edges of the
// evaluation all that is known.
struct Sorted {
  std::vector<std::int64_t> offsets, neighbors, order;    // order: empty if sorted already
  at::Tensor vectors;
  Star star;

  Sorted(const at::Tensor &index, const at::Tensor &edge_vectors, std::int64_t rows,
         std::int64_t nodes)
  {
    const std::int64_t count = index.size(1);
    const auto *centers = index.const_data_ptr<std::int64_t>();
    const auto *others = centers + count;
    star = edge_rows<Star>(edge_vectors);
    star.neighbors = others;
    if (current && centers == current->index && count == current->edges &&
        nodes == current->nodes && rows <= nodes) {
      star.offsets = current->offsets;
      return;
    }
    TORCH_CHECK(!current || current->centers,
                "cgpot: the model reads other edges than those of the evaluation");
    offsets.assign(static_cast<std::size_t>(rows) + 1, 0);
    star.offsets = offsets.data();
    if (count == 0) return;
    // highest bits, which the sign of a difference is: outside if one of n and count - 1 - n has it
    const auto bits = [](std::int64_t n) { return static_cast<std::uint64_t>(n); };
    const std::uint64_t last_row = bits(rows) - 1, last = bits(nodes) - 1;
    std::uint64_t outside = 0, falls = 0, before = bits(centers[0]);
    for (std::int64_t e = 0; e < count; ++e) {
      const std::uint64_t i = bits(centers[e]), j = bits(others[e]);
      outside |= i | (last_row - i) | j | (last - j);
      falls |= i - before;
      before = i;
    }
    TORCH_CHECK(outside >> 63 == 0, "cgpot: an edge ends at no node");
    if (falls >> 63 == 0) {
      // the last edge of each centre is what stays
      for (std::int64_t e = 0; e < count; ++e)
        offsets[static_cast<std::size_t>(centers[e]) + 1] = e + 1;
      for (std::size_t i = 1; i < offsets.size(); ++i)
        offsets[i] = std::max(offsets[i], offsets[i - 1]);
      return;
    }
    for (std::int64_t e = 0; e < count; ++e) ++offsets[static_cast<std::size_t>(centers[e]) + 1];
    for (std::size_t i = 1; i < offsets.size(); ++i) offsets[i] += offsets[i - 1];
    order.resize(static_cast<std::size_t>(count));
    std::vector<std::int64_t> next(offsets.begin(), offsets.end() - 1);
    for (std::int64_t e = 0; e < count; ++e)
      order[static_cast<std::size_t>(next[static_cast<std::size_t>(centers[e])]++)] = e;
    neighbors.resize(order.size());
    for (std::size_t k = 0; k < order.size(); ++k)
      neighbors[k] = others[static_cast<std::size_t>(order[k])];
    vectors = at::empty(edge_vectors.sizes(), edge_vectors.options());
    for (std::size_t k = 0; k < order.size(); ++k)
      copy_row(edge_vectors, order[k], vectors, static_cast<std::int64_t>(k));
    star = edge_rows<Star>(vectors);
    star.offsets = offsets.data();
    star.neighbors = neighbors.data();
  }

  // Gradients of the vectors of `members` networks, in the order of the centres, as the edges stand.
  at::Tensor as_given(const at::Tensor &sorted, std::int64_t members) const
  {
    if (order.empty()) return sorted;
    at::Tensor out = at::empty(sorted.sizes(), sorted.options());
    for (std::int64_t m = 0; m < members; ++m)
      for (std::size_t k = 0; k < order.size(); ++k)
        copy_row(sorted, m * edges() + static_cast<std::int64_t>(k), out, m * edges() + order[k]);
    return out;
  }

 private:
  std::int64_t edges() const { return static_cast<std::int64_t>(order.size()); }

  static void copy_row(const at::Tensor &from, std::int64_t source, const at::Tensor &to,
                       std::int64_t target)
  {
    const auto bytes = static_cast<std::int64_t>(3 * from.element_size());
    std::memcpy(static_cast<char *>(to.data_ptr()) + target * bytes,
                static_cast<const char *>(from.const_data_ptr()) + source * bytes,
                static_cast<std::size_t>(bytes));
  }
};

template <typename T> class Packed {
 public:
  // Rows of `from` (..., width) in groups of lanes; the same memory where the layouts agree.
  Packed(const Layout &layout, const at::Tensor &from)
  {
    const std::int64_t nodes = from.numel() / layout.width;
    const T *source = from.const_data_ptr<T>();
    if (layout.same) {
      data_ = source;
      return;
    }
    const std::size_t width = static_cast<std::size_t>(layout.groups) * lanes;
    own_ = at::empty({nodes, static_cast<std::int64_t>(width)}, from.options());
    T *target = own_.mutable_data_ptr<T>();
    at::parallel_for(0, nodes, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        layout.pack(source + i * layout.width, target + static_cast<std::size_t>(i) * width);
    });
    data_ = target;
  }
  const T *data() const { return data_; }
  static constexpr std::int64_t grain = 256;

 private:
  at::Tensor own_;    // torch's allocator: the pair style keeps its memory between evaluations
  const T *data_ = nullptr;
};

template <typename T>
at::Tensor unpacked(const Layout &layout, std::int64_t nodes, const T *packed,
                    const at::TensorOptions &options)
{
  at::Tensor out = at::empty({nodes, layout.width}, options);
  T *target = out.mutable_data_ptr<T>();
  const std::size_t width = static_cast<std::size_t>(layout.groups) * lanes;
  at::parallel_for(0, nodes, Packed<T>::grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      layout.unpack(packed + static_cast<std::size_t>(i) * width, target + i * layout.width);
  });
  return out;
}

// Rows of a result as e3nn has them.
template <typename T, typename Element> struct Moved {
  const Layout &layout;
  Element *rows;
};

constexpr std::int64_t centers_per_task = 64;

// x: (members, nodes, features), vectors: (edges, 3), table: (members, rows, columns).
void check(const at::Tensor &x, const at::Tensor &vectors, const at::Tensor &index,
           const at::Tensor &table, const Step &step)
{
  TORCH_CHECK(x.dim() == 3 && x.size(2) == step.in.width, "cgpot::convolve: x has ", x.sizes(),
              ", expected (members, nodes, ", step.in.width, ")");
  TORCH_CHECK(index.dim() == 2 && index.size(0) == 2 && index.scalar_type() == at::kLong,
              "cgpot::convolve: the edge index must be (2, edges), int64");
  TORCH_CHECK(vectors.dim() == 2 && vectors.size(0) == index.size(1) && vectors.size(1) == 3,
              "cgpot::convolve: expected a vector for each edge");
  TORCH_CHECK(table.dim() == 3 && table.size(1) >= 4 &&
                  table.size(2) == step.plan.weight_groups * lanes &&
                  table.scalar_type() == x.scalar_type(),
              "cgpot::convolve: the table has ", table.sizes(), ", expected (members, intervals + 3, ",
              step.plan.weight_groups * lanes, ") of the precision of x");
  TORCH_CHECK(x.size(0) > 0 && table.size(0) == x.size(0), "cgpot::convolve: x is of ", x.size(0),
              " members, the table of ", table.size(0));
}

template <typename T>
std::vector<Network<T>> members_of(const at::Tensor &table, double r_max)
{
  std::vector<Network<T>> members(static_cast<std::size_t>(table.size(0)));
  const T *rows = table.const_data_ptr<T>();
  for (std::size_t m = 0; m < members.size(); ++m)
    members[m].table = {rows + static_cast<std::int64_t>(m) * table.stride(0),
                        static_cast<int>(table.size(1)) - 3, r_max};
  return members;
}

template <typename T>
at::Tensor convolve_typed(const at::Tensor &x, const at::Tensor &vectors, const at::Tensor &index,
                          const at::Tensor &table, double r_max, const Step &step,
                          std::int64_t rows_out)
{
  const std::int64_t nodes = x.size(1);
  const Sorted sorted(index, vectors, rows_out, nodes);
  const Packed<T> packed(step.in, x);
  at::Tensor out = at::empty({x.size(0), rows_out, step.out.width}, x.options());
  auto members = members_of<T>(table, r_max);
  std::vector<Moved<T, T>> moved;
  moved.reserve(members.size());
  for (std::size_t m = 0; m < members.size(); ++m) {
    const auto number = static_cast<std::int64_t>(m);
    moved.push_back({step.out, out.mutable_data_ptr<T>() + number * rows_out * step.out.width});
    members[m].x = packed.data() + number * nodes * step.in.groups * lanes;
    members[m].out = {moved[m].rows, nullptr, &moved[m]};
    if (!step.out.same)
      members[m].out.move = [](void *context, std::int64_t center, T *row) {
        const auto &to = *static_cast<const Moved<T, T> *>(context);
        to.layout.unpack(row, to.rows + center * to.layout.width);
      };
  }
  at::parallel_for(0, rows_out, centers_per_task, [&](std::int64_t begin, std::int64_t end) {
    kernels<T>(step.plan).forward(step.plan, sorted.star, members.data(),
                                  static_cast<int>(members.size()), begin, end);
  });
  return out;
}

template <typename T>
std::tuple<at::Tensor, at::Tensor> backward_typed(const at::Tensor &grad, const at::Tensor &x,
                                                  const at::Tensor &vectors,
                                                  const at::Tensor &index, const at::Tensor &table,
                                                  double r_max, const Step &step, bool need_x)
{
  const std::int64_t count = x.size(0), nodes = x.size(1), centers = grad.size(1),
                     edges = index.size(1);
  const Sorted sorted(index, vectors, centers, nodes);
  const Packed<T> packed(step.in, x);
  const at::Tensor of_vectors = at::empty({count, edges, 3}, vectors.options());
  auto members = members_of<T>(table, r_max);
  std::vector<Moved<T, const T>> moved;
  moved.reserve(members.size());
  for (std::size_t m = 0; m < members.size(); ++m) {
    const auto number = static_cast<std::int64_t>(m);
    moved.push_back({step.out, grad.const_data_ptr<T>() + number * centers * step.out.width});
    members[m].x = packed.data() + number * nodes * step.in.groups * lanes;
    members[m].grad_out = {moved[m].rows, nullptr, &moved[m]};
    if (!step.out.same)
      members[m].grad_out.move = [](const void *context, std::int64_t center, T *row) {
        const auto &from = *static_cast<const Moved<T, const T> *>(context);
        from.layout.pack(from.rows + center * from.layout.width, row);
      };
    members[m].grad_edges = edge_rows<EdgeGradient>(of_vectors, number * edges);
  }

  // threads share the neighbours: each adds to rows of its own
  const std::int64_t row = need_x ? nodes * step.in.groups * lanes : 0;
  const auto threads = static_cast<std::size_t>(
      std::max<std::int64_t>(1, std::min<std::int64_t>(at::get_num_threads(), centers / centers_per_task)));
  std::vector<at::Tensor> rows(threads);
  for (at::Tensor &own : rows) own = at::empty({count * row}, x.options());
  at::parallel_for(0, static_cast<std::int64_t>(threads), 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t t = first; t < last; ++t) {
      T *own = rows[static_cast<std::size_t>(t)].mutable_data_ptr<T>();
      std::fill_n(own, count * row, T(0));
      auto mine = members;
      for (std::size_t m = 0; need_x && m < mine.size(); ++m)
        mine[m].grad_x = own + static_cast<std::int64_t>(m) * row;
      const auto all = static_cast<std::int64_t>(threads);
      kernels<T>(step.plan).backward(step.plan, sorted.star, mine.data(),
                                     static_cast<int>(mine.size()), centers * t / all,
                                     centers * (t + 1) / all);
    }
  });
  for (std::size_t t = 1; t < threads; ++t) rows[0].add_(rows[t]);
  const at::Tensor given = sorted.as_given(of_vectors, count);
  if (!need_x) return {at::zeros({0}, x.options()), given};
  const at::Tensor of_x = step.in.same
      ? rows[0]
      : unpacked(step.in, count * nodes, rows[0].const_data_ptr<T>(), x.options());
  return {of_x.view({count, nodes, step.in.width}), given};
}

// Of one network, without the dimension of members.
bool alone(const at::Tensor &x)
{
  return x.dim() == 2;
}

at::Tensor with_members(const at::Tensor &t, bool one)
{
  return (one ? t.unsqueeze(0) : t).contiguous();
}

// The members of an ensemble have the same vectors: those of the first. In double precision, unless
// they and the features are in single.
at::Tensor shared(const at::Tensor &vectors, const at::Tensor &x)
{
  TORCH_CHECK(vectors.dim() == x.dim() && (alone(x) || vectors.size(0) == x.size(0)),
              "cgpot::convolve: expected a vector for each edge");
  const bool single = vectors.scalar_type() == at::kFloat && x.scalar_type() == at::kFloat;
  return (alone(x) ? vectors : vectors.select(0, 0))
      .to(single ? at::kFloat : at::kDouble)
      .contiguous();
}

at::Tensor convolve(const at::Tensor &x, const at::Tensor &vectors, const at::Tensor &index,
                    const at::Tensor &table, double r_max, at::IntArrayRef code,
                    std::int64_t centers)
{
  const Step step(code);
  const bool one = alone(x);
  const at::Tensor a = with_members(x, one), v = shared(vectors, x), e = index.contiguous(),
                   t = with_members(table, one);
  check(a, v, e, t, step);
  TORCH_CHECK(centers >= 0, "cgpot::convolve: a negative number of centres");
  TORCH_CHECK(a.scalar_type() == at::kFloat || a.scalar_type() == at::kDouble,
              "cgpot::convolve: expected float32 or float64");
  const at::Tensor out = a.scalar_type() == at::kFloat
      ? convolve_typed<float>(a, v, e, t, r_max, step, centers)
      : convolve_typed<double>(a, v, e, t, r_max, step, centers);
  return one ? out.squeeze(0) : out;
}

std::tuple<at::Tensor, at::Tensor> convolve_backward(const at::Tensor &grad, const at::Tensor &x,
                                                     const at::Tensor &vectors,
                                                     const at::Tensor &index,
                                                     const at::Tensor &table, double r_max,
                                                     at::IntArrayRef code, bool need_x)
{
  const Step step(code);
  const bool one = alone(x);
  const at::Tensor g = with_members(grad, one), a = with_members(x, one),
                   v = shared(vectors, x), e = index.contiguous(), t = with_members(table, one);
  check(a, v, e, t, step);
  TORCH_CHECK(g.dim() == 3 && g.size(0) == a.size(0) && g.size(2) == step.out.width,
              "cgpot::convolve_backward: the gradient has another shape than the result");
  auto [of_x, of_vectors] = a.scalar_type() == at::kFloat
      ? backward_typed<float>(g, a, v, e, t, r_max, step, need_x)
      : backward_typed<double>(g, a, v, e, t, r_max, step, need_x);
  of_vectors = of_vectors.to(vectors.scalar_type());
  if (!one) return {of_x, of_vectors};
  return {need_x ? of_x.squeeze(0) : of_x, of_vectors.squeeze(0)};
}

PairTable pair_table(const at::Tensor &coefficients, const at::Tensor &rows, const at::Tensor &types,
                     double r_max)
{
  return {coefficients.const_data_ptr<double>(), rows.const_data_ptr<std::int64_t>(),
          types.const_data_ptr<std::int64_t>(), rows.size(0),
          static_cast<int>(coefficients.size(1)) - 3, r_max};
}

void check_pair(const at::Tensor &vectors, const at::Tensor &index, const at::Tensor &types,
                const at::Tensor &coefficients, const at::Tensor &rows)
{
  TORCH_CHECK(index.dim() == 2 && index.size(0) == 2 && index.scalar_type() == at::kLong &&
                  vectors.dim() == 2 && vectors.size(0) == index.size(1) && vectors.size(1) == 3 &&
                  (vectors.scalar_type() == at::kDouble || vectors.scalar_type() == at::kFloat),
              "cgpot::pair_energy: expected an edge index (2, edges) and vectors (edges, 3), float32 "
              "or float64");
  TORCH_CHECK(types.dim() == 1 && types.scalar_type() == at::kLong && coefficients.dim() == 2 &&
                  coefficients.size(1) >= 4 && coefficients.scalar_type() == at::kDouble &&
                  rows.dim() == 2 && rows.size(0) == rows.size(1) && rows.scalar_type() == at::kLong,
              "cgpot::pair_energy: wrong shapes of types, coefficients or rows");
}

at::Tensor pair_energy(const at::Tensor &vectors, const at::Tensor &index, const at::Tensor &types,
                       const at::Tensor &coefficients, const at::Tensor &rows, double r_max,
                       std::int64_t centers_out)
{
  check_pair(vectors, index, types, coefficients, rows);
  const at::Tensor v = vectors.contiguous(), e = index.contiguous(), t = types.contiguous(),
                   c = coefficients.contiguous(), r = rows.contiguous();
  TORCH_CHECK(centers_out >= 0, "cgpot::pair_energy: a negative number of centres");
  const Sorted sorted(e, v, centers_out, t.size(0));
  at::Tensor out = at::zeros({centers_out, 1}, v.options().dtype(at::kDouble));
  pair_kernels().forward(pair_table(c, r, t, r_max), sorted.star, 0, centers_out,
                         out.mutable_data_ptr<double>());
  return out;
}

at::Tensor pair_energy_backward(const at::Tensor &grad, const at::Tensor &vectors,
                                const at::Tensor &index, const at::Tensor &types,
                                const at::Tensor &coefficients, const at::Tensor &rows,
                                double r_max)
{
  check_pair(vectors, index, types, coefficients, rows);
  const at::Tensor g = grad.to(at::kDouble).contiguous(), v = vectors.contiguous(),
                   e = index.contiguous(), t = types.contiguous(), c = coefficients.contiguous(),
                   r = rows.contiguous();
  TORCH_CHECK(g.dim() == 2 && g.size(1) == 1, "cgpot::pair_energy_backward: expected (centers, 1)");
  const Sorted sorted(e, v, g.size(0), t.size(0));
  const at::Tensor out = at::empty({e.size(1), 3}, v.options());
  const EdgeGradient target = edge_rows<EdgeGradient>(out);
  const PairTable table = pair_table(c, r, t, r_max);
  const double *of = g.const_data_ptr<double>();
  at::parallel_for(0, g.size(0), centers_per_task, [&](std::int64_t begin, std::int64_t end) {
    pair_kernels().backward(table, sorted.star, begin, end, of, target);
  });
  return sorted.as_given(out, 1);
}

// Rows of the current exchanger's call, on the CPU, in place.
void pass(at::Tensor &rows, bool reverse)
{
  const std::int64_t nodes = rows.size(0);
  const int width = static_cast<int>(rows.size(1));
  const auto run = [&](auto *data) {
    if (reverse)
      exchanger()->reverse(data, nodes, width);
    else
      exchanger()->forward(data, nodes, width);
  };
  if (rows.scalar_type() == at::kFloat)
    run(rows.mutable_data_ptr<float>());
  else
    run(rows.mutable_data_ptr<double>());
}

// Rows of all members of an ensemble in one, and back.
at::Tensor side_by_side(const at::Tensor &x)
{
  return x.transpose(0, 1).reshape({x.size(1), x.size(0) * x.size(2)});
}

at::Tensor one_by_one(const at::Tensor &rows, std::int64_t members)
{
  return rows.view({rows.size(0), members, rows.size(1) / members}).transpose(0, 1).contiguous();
}

at::Tensor exchange(const at::Tensor &x, const at::Tensor &types)
{
  TORCH_CHECK((x.dim() == 2 || x.dim() == 3) && types.dim() == 1 &&
                  types.size(0) >= x.size(x.dim() - 2),
              "cgpot::exchange: expected rows of the first of all nodes");
  if (!x.is_cpu() && exchanger()) return exchange(x.cpu(), types.cpu()).to(x.device());
  if (x.dim() == 3 && exchanger())
    return one_by_one(exchange(side_by_side(x), types), x.size(0));
  const std::int64_t rows = x.size(-2), ghosts = types.size(0) - rows;
  if (ghosts == 0 && !exchanger()) return x.clone();    // an operator must not give back its argument
  std::vector<std::int64_t> shape(x.sizes().begin(), x.sizes().end());
  shape[shape.size() - 2] += ghosts;
  at::Tensor out = at::empty(shape, x.options());
  out.narrow(-2, 0, rows).copy_(x);
  if (ghosts > 0) out.narrow(-2, rows, ghosts).zero_();
  if (exchanger()) pass(out, false);
  return out;
}

at::Tensor exchange_backward(const at::Tensor &grad, std::int64_t rows)
{
  TORCH_CHECK((grad.dim() == 2 || grad.dim() == 3) && rows >= 0 && rows <= grad.size(-2),
              "cgpot::exchange_backward: expected a gradient for each node");
  if (!exchanger()) return grad.narrow(-2, 0, rows).clone();
  if (!grad.is_cpu()) return exchange_backward(grad.cpu(), rows).to(grad.device());
  if (grad.dim() == 3) return one_by_one(exchange_backward(side_by_side(grad), rows), grad.size(0));
  at::Tensor all = grad.contiguous();
  if (all.is_same(grad)) all = grad.clone();
  pass(all, true);
  return rows == all.size(0) ? all : all.narrow(0, 0, rows).clone();
}

}    // namespace

void set_evaluation(const Evaluation *evaluation)
{
  current = evaluation;
}

}    // namespace cgpot

TORCH_LIBRARY(cgpot, m)
{
  m.def("convolve(Tensor x, Tensor vectors, Tensor index, Tensor table, float r_max, int[] plan, "
        "SymInt centers) -> Tensor");
  m.def("convolve_backward(Tensor grad, Tensor x, Tensor vectors, Tensor index, Tensor table, "
        "float r_max, int[] plan, bool need_x) -> (Tensor, Tensor)");
  m.def("pair_energy(Tensor vectors, Tensor index, Tensor types, Tensor coefficients, Tensor rows, "
        "float r_max, SymInt centers) -> Tensor");
  m.def("pair_energy_backward(Tensor grad, Tensor vectors, Tensor index, Tensor types, "
        "Tensor coefficients, Tensor rows, float r_max) -> Tensor");
  m.def("exchange(Tensor x, Tensor types) -> Tensor");
  m.def("exchange_backward(Tensor grad, SymInt rows) -> Tensor");
}

TORCH_LIBRARY_IMPL(cgpot, CPU, m)
{
  m.impl("convolve", cgpot::convolve);
  m.impl("convolve_backward", cgpot::convolve_backward);
  m.impl("pair_energy", cgpot::pair_energy);
  m.impl("pair_energy_backward", cgpot::pair_energy_backward);
}

TORCH_LIBRARY_IMPL(cgpot, CompositeExplicitAutograd, m)    // on any device
{
  m.impl("exchange", cgpot::exchange);
  m.impl("exchange_backward", cgpot::exchange_backward);
}
