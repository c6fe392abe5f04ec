// SPDX-License-Identifier: GPL-2.0-or-later
// Reads a configuration, builds its graph from a neighbour list of all pairs, prints the graph.
//
// Input: cutoff, length scale, number of owned atoms, of all atoms, of types; the model type of
// each type; then for each atom: id, type, x, y, z.
#include "edges.h"
#include "graph.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <tuple>
#include <utility>
#include <vector>

// Both forms of the loops over pairs, with each number of candidates up to `most`.
bool same_loops(int most, long &kept)
{
  unsigned long state = 3;
  const auto random = [&] { return (state = state * 48271 % 2147483647) / 2147483647.0; };
  for (int count = 0; count <= most; ++count) {
    const auto length = static_cast<std::size_t>(count);
    // of their own lengths, so that reading or writing beyond them shows
    std::vector<double> x(3 * length + 3);
    for (double &c : x) c = 10.0 * random();
    if (count > 4) x[7] = std::nan("");
    std::vector<int> atoms(length + cgpot::spare), nodes(length), points(length), labels(length);
    std::vector<float> rows[3];
    for (int c = 0; c < count; ++c) {
      atoms[c] = 1 + static_cast<int>(count * random());
      nodes[c] = static_cast<int>(1e9 * random());
      points[c] = count - c;
      labels[c] = 7 * c;
      for (int k = 0; k < 3; ++k) rows[k].push_back(static_cast<float>(x[3 * points[c] + k]));
    }
    // a centre without candidates, and two that share them
    const int centers[3] = {0, 0, count};
    const std::size_t first[4] = {0, 0, length / 3, length};
    std::vector<std::int64_t> neighbors[2], begins[2];
    std::vector<double> vectors[2];
    std::vector<float> singles[2];
    std::vector<int> near[2], found[2];
    const float own[3] = {static_cast<float>(x[0]), static_cast<float>(x[1]),
                          static_cast<float>(x[2])};
    for (int k = 0; k < 2; ++k) {
      const cgpot::PairLoops &loops = k ? cgpot::pair_loops() : cgpot::scalar_loops;
      neighbors[k].resize(length + cgpot::spare);
      vectors[k].resize(3 * (length + cgpot::spare));
      near[k].resize(length + cgpot::spare);
      found[k].resize(length + cgpot::spare);
      begins[k].resize(4);
      singles[k].resize(3 * (length + cgpot::spare));
      // the last atom is read like the others where there is room behind it
      std::vector<double> longer = x;
      longer.push_back(7.0);
      cgpot::Candidates pairs{x.data(), centers, 3, first, atoms.data(), nodes.data(), false};
      const std::size_t edges = loops.select(pairs, 0.1, 0.5, begins[k].data(),
                                             neighbors[k].data(), vectors[k].data());
      if (begins[k][0] != 0 || begins[k][1] != 0 ||
          begins[k][3] != static_cast<std::int64_t>(edges))
        return false;
      neighbors[k].resize(edges);
      vectors[k].resize(3 * edges);
      // rounded, and with room: the same edges (none is as far as the cutoff to a rounding)
      std::vector<std::int64_t> others(length + cgpot::spare), starts(4);
      std::vector<double> again(3 * (length + cgpot::spare));
      for (const bool room : {false, true}) {
        pairs.x = room ? longer.data() : x.data();
        pairs.room = room;
        if (loops.select(pairs, 0.1, 0.5, starts.data(), others.data(), again.data()) != edges ||
            !std::equal(vectors[k].begin(), vectors[k].end(), again.begin()) ||
            loops.select_single(pairs, 0.1, 0.5, starts.data(), others.data(),
                                singles[k].data()) != edges ||
            starts != begins[k] ||
            !std::equal(neighbors[k].begin(), neighbors[k].end(), others.begin()))
          return false;
        for (std::size_t c = 0; c < 3 * edges; ++c)
          if (std::fabs(singles[k][c] - vectors[k][c]) > 2e-7 * std::fabs(vectors[k][c])) return false;
      }
      singles[k].resize(3 * edges);
      const cgpot::PointRows sorted{rows[0].data(), rows[1].data(), rows[2].data(), points.data(),
                                       labels.data()};
      const cgpot::Row halves[3] = {{0, length / 2}, {length / 2, length / 2}, {length / 2, length}};
      near[k].resize(loops.near(sorted, halves, 3, own, 50.0F, count / 2, near[k].data(),
                                found[k].data()));
      found[k].resize(near[k].size());
      for (std::size_t f = 0; f < near[k].size(); ++f)
        if (found[k][f] != 7 * (count - near[k][f])) return false;
      kept += static_cast<long>(edges + near[k].size());
    }
    // sums of a gradient over edges of a few centres; the fourth column may hold anything
    std::vector<std::int64_t> offsets(1, 0), to(length);
    std::vector<double> gradient(3 * length), forces[2];
    for (std::size_t e = 0; e < length; ++e) {
      if (e % 3 == 2) offsets.push_back(static_cast<std::int64_t>(e + 1));
      to[e] = static_cast<std::int64_t>(static_cast<double>(length) * random());
      for (std::size_t k = 0; k < 3; ++k) gradient[3 * e + k] = random() - 0.5;
    }
    offsets.push_back(static_cast<std::int64_t>(length));    // the last may have no edges
    std::vector<float> rounded(gradient.begin(), gradient.end());
    for (const bool single : {false, true}) {
      for (int k = 0; k < 2; ++k) {
        forces[k].assign(4 * (length + 1), 0.0);
        const cgpot::PairLoops &loops = k ? cgpot::pair_loops() : cgpot::scalar_loops;
        if (single)
          loops.sum_single(rounded.data(), offsets.data(), to.data(), offsets.size() - 1,
                           forces[k].data());
        else
          loops.sum(gradient.data(), offsets.data(), to.data(), offsets.size() - 1,
                    forces[k].data());
      }
      for (std::size_t i = 0; i < forces[0].size(); ++i)
        if (i % 4 < 3 && forces[0][i] != forces[1][i]) return false;
    }
    if (neighbors[0] != neighbors[1] || vectors[0] != vectors[1] || singles[0] != singles[1] ||
        near[0] != near[1] || begins[0] != begins[1])
      return false;
  }
  return true;
}

// Arrays that grow from nothing beyond the size of large pages.
bool pages_keep_what_they_hold()
{
  cgpot::Pages<int> pages;
  bool same = true;
  for (std::size_t length = 1; length < std::size_t{1} << 22; length *= 4) {
    const std::size_t before = pages.size();
    pages.resize(length);
    for (std::size_t i = before; i < length; ++i) pages[i] = static_cast<int>(i) ^ 21;
    for (std::size_t i = 0; i < length; ++i) same = same && pages[i] == (static_cast<int>(i) ^ 21);
    same = same && reinterpret_cast<std::uintptr_t>(pages.data()) % 64 == 0;
  }
  return same;
}

int main()
{
  long kept = 0;
  const bool same_forms = same_loops(41, kept);
  std::printf("loops %d %ld\n", same_forms ? 1 : 0, kept);
  std::printf("pages %d\n", pages_keep_what_they_hold() ? 1 : 0);
  double cutoff, scale;
  int nlocal, nall, ntypes;
  std::cin >> cutoff >> scale >> nlocal >> nall >> ntypes;
  std::vector<int> type_map(ntypes + 1, -1);
  for (int t = 1; t <= ntypes; ++t) std::cin >> type_map[t];
  std::vector<long> id(nall);
  std::vector<int> type(nall);
  std::vector<double> x(3 * nall);
  for (int i = 0; i < nall; ++i) {
    std::cin >> id[i] >> type[i] >> x[3 * i] >> x[3 * i + 1] >> x[3 * i + 2];
  }
  std::vector<int> owner;
  cgpot::map_owners(id.data(), nlocal, nall, owner, true);
  {    // beads of other ranks: one node for all images of each
    cgpot::NeighborView none;
    none.range = cutoff / scale;
    cgpot::GraphBuilder builder(cutoff, scale);
    const cgpot::Graph &g = builder.build(x.data(), type.data(), nlocal, nall, type_map, none,
                                          cgpot::Ghosts::exchange, owner.data(), 1);
    bool first = true;    // nodes stand for the first atoms with their IDs
    for (int i = 0; i < nall; ++i) {
      const int node = builder.node_of()[i];
      if (node >= 0) first = first && g.atoms[node] <= i && id[g.atoms[node]] == id[i];
    }
    std::printf("remote %d %d %zu %d\n", g.owned, g.nodes, g.edges, first ? 1 : 0);
  }
  const int orphan = cgpot::map_owners(id.data(), nlocal, nall, owner);
  if (orphan >= 0) {
    std::printf("orphan %d\n", orphan);
    return 0;
  }
  const int bit = 1 << 30;    // LAMMPS marks special neighbours in the upper bits
  std::vector<std::vector<int>> lists(nall);    // of ghosts too, for halos
  std::vector<const int *> first(nall);
  std::vector<int> ilist, count(nall);
  for (int i = 0; i < nall; ++i) {
    for (int j = 0; j < nall; ++j)
      if (j != i) lists[i].push_back(j % 2 ? j : j | bit);
    first[i] = lists[i].data();
    count[i] = static_cast<int>(lists[i].size());
    if (i < nlocal) ilist.push_back(i);
  }
  const cgpot::NeighborView view{nlocal, ilist.data(), count.data(), first.data(), bit - 1};
  cgpot::GraphBuilder builder(cutoff, scale);
  using cgpot::Ghosts;
  const auto build = [&](Ghosts ghosts, int reach) -> const cgpot::Graph & {
    return builder.build(x.data(), type.data(), nlocal, nall, type_map, view, ghosts,
                         owner.data(), reach);
  };
  std::printf("modes");
  for (const int reach : {0, 1, 2}) {
    const cgpot::Graph &other = build(reach ? Ghosts::halo : Ghosts::exchange, reach);
    std::printf(" %d %d %zu", other.owned, other.nodes, other.edges);
  }
  std::printf("\n");
  // beads move and change their types, the list stays: as a new builder sees them
  for (const auto &[ghosts, reach] : {std::pair(Ghosts::image, 1), std::pair(Ghosts::exchange, 1),
                                     std::pair(Ghosts::halo, 1), std::pair(Ghosts::halo, 2)}) {
    std::vector<double> moved = x;
    std::vector<int> kinds = type;
    cgpot::GraphBuilder held(cutoff, scale);
    unsigned long state = 1;
    const auto random = [&] { return (state = state * 48271 % 2147483647) / 2147483647.0; };
    long compared = 0;
    bool same = true;
    for (int step = 0; step < 12; ++step) {
      const cgpot::Graph &a = held.build(moved.data(), kinds.data(), nlocal, nall, type_map, view,
                                         ghosts, owner.data(), reach, step == 0);
      cgpot::GraphBuilder made(cutoff, scale);
      const cgpot::Graph &b = made.build(moved.data(), kinds.data(), nlocal, nall, type_map, view,
                                         ghosts, owner.data(), reach);
      same = same && a.owned == b.owned && a.nodes == b.nodes && a.edges == b.edges &&
          a.padded_nodes == b.padded_nodes && a.padded_edges == b.padded_edges &&
          a.atoms == b.atoms && a.types == b.types && a.shortest() == b.shortest();
      for (std::size_t k = 0; same && k < 2 * a.padded_edges; ++k) same = a.index()[k] == b.index()[k];
      for (std::size_t k = 0; same && k < 3 * a.padded_edges; ++k)
        same = a.vectors[k] == b.vectors[k];
      compared += static_cast<long>(a.edges);
      for (double &c : moved) c += 0.2 * cutoff * (random() - 0.5);
      if (nlocal > 0 && step % 3 == 1)
        kinds[static_cast<int>(nlocal * random())] = 1 + step % ntypes;
    }
    std::printf("steps %d %ld\n", same ? 1 : 0, compared);
  }
  // neighbours found by cells: the same edges in another order, types that take no part aside;
  // kept while beads are within half a skin of where they were
  for (const Ghosts ghosts : {Ghosts::image, Ghosts::exchange, Ghosts::halo}) {
    const double skin = 0.2 * cutoff / scale;
    cgpot::NeighborView none;
    none.range = cutoff / scale + skin;
    cgpot::GraphBuilder by_list(cutoff, scale), by_cells(cutoff, scale);
    std::vector<double> moved = x;
    const auto edges = [&](cgpot::GraphBuilder &made, const cgpot::NeighborView &list, bool fresh) {
      const cgpot::Graph &g = made.build(moved.data(), type.data(), nlocal, nall, type_map, list,
                                         ghosts, owner.data(), 1, fresh);
      std::vector<std::tuple<int, int, double, double, double>> all;
      for (std::size_t e = 0; e < g.edges; ++e)
        all.emplace_back(g.atoms[g.center(e)], g.atoms[g.neighbors()[e]], g.vectors[3 * e],
                         g.vectors[3 * e + 1], g.vectors[3 * e + 2]);
      std::sort(all.begin(), all.end());
      return all;
    };
    unsigned long state = 7;
    const auto random = [&] { return (state = state * 48271 % 2147483647) / 2147483647.0; };
    bool same = true;
    std::size_t first_count = 0, changes = 0;
    for (int step = 0; step < 6; ++step) {
      const auto expected = edges(by_list, view, true);
      same = same && edges(by_cells, none, step == 0) == expected;
      if (step == 0) first_count = expected.size();
      changes += expected.size() != first_count ? 1 : 0;
      // a cube inside the sphere of half a skin
      for (int k = 0; k < 3 * nall; ++k) moved[k] = x[k] + 0.57 * skin * (random() - 0.5);
    }
    std::printf("cells %d %zu %zu\n", same ? 1 : 0, first_count, changes);
  }
  // after others: buffers are used again
  const cgpot::Graph &g = build(Ghosts::image, 1);
  std::printf("sizes %d %zu %d %zu %.17g\n", g.nodes, g.edges, g.padded_nodes, g.padded_edges,
              g.edges ? g.length(g.shortest()) : 0.0);
  for (int n = 0; n < g.padded_nodes; ++n)
    std::printf("node %d %ld\n", n < g.nodes ? g.atoms[n] : -1, static_cast<long>(g.types[n]));
  for (std::size_t e = 0; e < g.padded_edges; ++e)
    std::printf("edge %ld %ld %.17g %.17g %.17g\n", static_cast<long>(g.index()[e]),
                static_cast<long>(g.neighbors()[e]), g.vectors[3 * e], g.vectors[3 * e + 1],
                g.vectors[3 * e + 2]);
  // in single precision, without the centres of the edges: the same otherwise
  for (const auto &[ghosts, reach] : {std::pair(Ghosts::image, 1), std::pair(Ghosts::exchange, 1),
                                     std::pair(Ghosts::halo, 1), std::pair(Ghosts::halo, 2)}) {
    cgpot::GraphBuilder short_form(cutoff, scale, {true, false}), long_form(cutoff, scale);
    const auto make = [&](cgpot::GraphBuilder &made) -> const cgpot::Graph & {
      return made.build(x.data(), type.data(), nlocal, nall, type_map, view, ghosts, owner.data(),
                        reach);
    };
    const cgpot::Graph &a = make(short_form), &b = make(long_form);
    bool same = a.form.single && !a.form.centers && a.edges == b.edges && a.atoms == b.atoms &&
        a.padded_edges == b.padded_edges && a.types == b.types && a.offsets == b.offsets &&
        (a.edges == 0 || std::fabs(a.length(a.shortest()) / b.length(b.shortest()) - 1.0) < 1e-6);
    for (std::size_t e = 0; same && e < a.padded_edges; ++e) {
      same = a.neighbors()[e] == b.neighbors()[e] && a.center(e) == b.index()[e] &&
          b.center(e) == b.index()[e];
      for (std::size_t k = 0; k < 3; ++k)
        same = same && a.component(e, k) == static_cast<float>(b.vectors[3 * e + k]);
    }
    std::vector<float> single;
    std::vector<double> full;
    for (std::size_t e = 0; e < 3 * a.padded_edges; ++e) {
      single.push_back(static_cast<float>(e % 7) - 3.0F);
      full.push_back(single.back());
    }
    cgpot::Tally sums[2];
    for (cgpot::Tally &sum : sums) sum.total_virial = sum.atom_virial = true;
    sums[0].sum(a, single.data());
    sums[1].sum(b, full.data());
    double most = 1.0, error = 0.0;    // of what follows from rounded vectors
    for (std::size_t k = 0; k < sums[0].virials.size(); ++k) {
      most = std::max(most, std::fabs(sums[1].virials[k]));
      error = std::max(error, std::fabs(sums[0].virials[k] - sums[1].virials[k]));
    }
    std::printf("short %d %d %zu\n", same && sums[0].forces == sums[1].forces ? 1 : 0,
                error < 1e-6 * most ? 1 : 0, a.edges);
  }
  // a gradient that is no central force: g_e = (y, 2 z, x)
  std::vector<double> gradient;
  for (std::size_t e = 0; e < g.padded_edges; ++e)
    for (const double v : {g.vectors[3 * e + 1], 2 * g.vectors[3 * e + 2], g.vectors[3 * e]})
      gradient.push_back(v);
  cgpot::Tally tally;
  tally.total_virial = tally.atom_virial = true;
  tally.sum(g, gradient.data());
  std::printf("virial");
  for (const double w : tally.virial) std::printf(" %.17g", w);
  std::printf("\n");
  for (int n = 0; n < g.nodes; ++n) {
    std::printf("tally");
    for (int k = 0; k < 3; ++k) std::printf(" %.17g", tally.forces[3 * n + k]);
    for (int k = 0; k < 9; ++k) std::printf(" %.17g", tally.virials[9 * n + k]);
    std::printf("\n");
  }
}
