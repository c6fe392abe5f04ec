// SPDX-License-Identifier: GPL-2.0-or-later
// RankExchanger between several ranks in one process, as threads, against direct sums. Atoms sit on
// a ring; each rank owns a part and has ghosts of all others, which reach it over two swaps as in
// LAMMPS: the second passes on what the first brought. Prints a line for each case.
#include "ranks.h"

#include <barrier>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <thread>
#include <vector>

using cgpot::RankExchanger;

namespace {

struct Swap {    // of one rank: it sends `list` to `to`, whose ghosts begin at `first` there
  int to = 0, from = 0, first = 0;    // first, count: own ghosts, from `from`
  std::vector<int> list;
  int count = 0;
};

struct Rank {
  int owned = 0;
  std::vector<int> ids;        // of owned atoms and ghosts
  std::vector<int> node_of, atoms;
  int nodes = 0, owned_nodes = 0;
  std::vector<Swap> swaps;
  std::vector<double> buffer;
  std::unique_ptr<RankExchanger> exchanger;
};

int failures = 0;

void check(bool good, const char *what)
{
  if (good) return;
  ++failures;
  std::printf("wrong %s\n", what);
}

// gaps: every third atom (by ID) has no node; shared: atoms with the same ID share a node, and come
// around more than once
std::vector<Rank> make(const std::vector<int> &sizes, bool gaps, bool shared)
{
  const int count = static_cast<int>(sizes.size());
  std::vector<Rank> ranks(sizes.size());
  int id = 0;
  for (int r = 0; r < count; ++r) {
    ranks[r].owned = sizes[r];
    for (int k = 0; k < sizes[r]; ++k) ranks[r].ids.push_back(id++);
  }
  // swap 0: owned atoms to the next rank; swap s: what came with swap s - 1, so that all get around
  std::vector<std::vector<int>> last(sizes.size());
  for (int r = 0; r < count; ++r)
    for (int k = 0; k < sizes[r]; ++k) last[r].push_back(k);
  for (int s = 0; s + 1 < std::max(count, 2) + (shared ? 2 : 0); ++s) {
    std::vector<std::vector<int>> next(sizes.size());
    for (int r = 0; r < count; ++r) {
      const int from = (r + count - 1) % count;
      Swap swap;
      swap.to = (r + 1) % count;
      swap.from = from;
      swap.list = last[r];
      swap.first = static_cast<int>(ranks[r].ids.size());
      swap.count = static_cast<int>(last[from].size());
      for (int k = 0; k < swap.count; ++k) next[r].push_back(swap.first + k);
      ranks[r].swaps.push_back(swap);
    }
    std::vector<std::vector<int>> arrived(sizes.size());
    for (int r = 0; r < count; ++r)
      for (const int atom : last[(r + count - 1) % count])
        arrived[r].push_back(ranks[(r + count - 1) % count].ids[static_cast<std::size_t>(atom)]);
    for (int r = 0; r < count; ++r)
      ranks[r].ids.insert(ranks[r].ids.end(), arrived[r].begin(), arrived[r].end());
    last = next;
  }
  for (Rank &rank : ranks) {
    for (std::size_t i = 0; i < rank.ids.size(); ++i) {
      const bool none = gaps && rank.ids[i] % 3 == 0;
      const auto same = std::find(rank.ids.begin(), rank.ids.begin() + static_cast<long>(i),
                                  rank.ids[i]) - rank.ids.begin();
      if (!none && shared && same < static_cast<long>(i)) {
        rank.node_of.push_back(rank.node_of[static_cast<std::size_t>(same)]);
        continue;
      }
      rank.node_of.push_back(none ? -1 : rank.nodes++);
      if (!none) rank.atoms.push_back(static_cast<int>(i));
      if (!none && static_cast<int>(i) < rank.owned) rank.owned_nodes = rank.nodes;
    }
  }
  return ranks;
}

template <typename T> void run(const std::vector<int> &sizes, int capacity, int width, bool gaps, bool shared)
{
  auto ranks = make(sizes, gaps, shared);
  std::barrier barrier(static_cast<std::ptrdiff_t>(sizes.size()));
  std::vector<std::vector<T>> rows(sizes.size());
  std::mt19937 random(7);
  int total = 0;
  for (const int size : sizes) total += size;
  const auto w = static_cast<std::size_t>(width);
  // small whole numbers: sums are exact in any order
  std::vector<T> values(static_cast<std::size_t>(total) * w);
  for (T &value : values) value = static_cast<T>(random() % 64);
  std::vector<T> sums(values.size(), T(0));

  const auto each = [&](auto &&what) {
    std::vector<std::thread> threads;
    for (std::size_t r = 0; r < ranks.size(); ++r) threads.emplace_back([&, r] { what(r); });
    for (auto &thread : threads) thread.join();
  };
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    Rank &rank = ranks[r];
    // buffers as small as LAMMPS may make them, so that a step too far is seen
    const auto room = [&](const Swap &swap, int size) {
      return static_cast<std::size_t>(std::max<int>(static_cast<int>(swap.list.size()), swap.count)) *
          static_cast<std::size_t>(size);
    };
    rank.exchanger = std::make_unique<RankExchanger>(
        [&, r, room](int size) {
          check(size <= capacity, "size");
          for (std::size_t s = 0; s < rank.swaps.size(); ++s) {
            const Swap &swap = rank.swaps[s];
            rank.buffer = std::vector<double>(room(swap, size));
            const int sent = rank.exchanger->pack_forward(static_cast<int>(swap.list.size()),
                                                          swap.list.data(), rank.buffer.data());
            check(sent == static_cast<int>(swap.list.size()) * size, "count");
            barrier.arrive_and_wait();
            const std::vector<double> got = ranks[static_cast<std::size_t>(swap.from)].buffer;
            rank.exchanger->unpack_forward(swap.count, swap.first, got.data());
            barrier.arrive_and_wait();
          }
        },
        [&, r, room](int size) {
          check(size <= capacity, "size");
          for (std::size_t s = rank.swaps.size(); s-- > 0;) {
            const Swap &swap = rank.swaps[s];
            rank.buffer = std::vector<double>(room(swap, size));
            rank.exchanger->pack_reverse(swap.count, swap.first, rank.buffer.data());
            barrier.arrive_and_wait();
            const std::vector<double> got = ranks[static_cast<std::size_t>(swap.to)].buffer;
            rank.exchanger->unpack_reverse(static_cast<int>(swap.list.size()), swap.list.data(),
                                           got.data());
            barrier.arrive_and_wait();
          }
        },
        capacity);
    rank.exchanger->begin(rank.node_of, rank.atoms, rank.owned_nodes);
    rows[r].assign(static_cast<std::size_t>(rank.nodes) * w, T(-1));
  }
  const auto row = [&](std::size_t r, std::size_t i) {
    const int node = ranks[r].node_of[i];
    return node < 0 ? nullptr : rows[r].data() + static_cast<std::size_t>(node) * w;
  };
  const auto stands = [&](std::size_t r, std::size_t i) {    // the atom that its node is listed with
    const int node = ranks[r].node_of[i];
    return node >= 0 && ranks[r].atoms[static_cast<std::size_t>(node)] == static_cast<int>(i);
  };
  const auto value = [&](std::vector<T> &from, int id) {
    return from.data() + static_cast<std::size_t>(id) * w;
  };

  // forward: owners' values everywhere
  for (std::size_t r = 0; r < ranks.size(); ++r)
    for (int i = 0; i < ranks[r].owned; ++i)
      if (T *to = row(r, static_cast<std::size_t>(i)))
        std::copy_n(value(values, ranks[r].ids[static_cast<std::size_t>(i)]), w, to);
  each([&](std::size_t r) { ranks[r].exchanger->forward(rows[r].data(), ranks[r].nodes, width); });
  for (std::size_t r = 0; r < ranks.size(); ++r)
    for (std::size_t i = 0; i < ranks[r].ids.size(); ++i)
      if (const T *found = row(r, i))
        check(std::equal(found, found + w, value(values, ranks[r].ids[i])), "forward");

  // reverse: sums at the owners, zeros at ghosts
  for (std::size_t r = 0; r < ranks.size(); ++r)
    for (std::size_t i = 0; i < ranks[r].ids.size(); ++i)
      if (T *to = stands(r, i) ? row(r, i) : nullptr)
        for (std::size_t c = 0; c < w; ++c) {
          to[c] = static_cast<T>(random() % 64);
          value(sums, ranks[r].ids[i])[c] += to[c];
        }
  each([&](std::size_t r) { ranks[r].exchanger->reverse(rows[r].data(), ranks[r].nodes, width); });
  for (std::size_t r = 0; r < ranks.size(); ++r)
    for (std::size_t i = 0; i < ranks[r].ids.size(); ++i) {
      const T *found = row(r, i);
      if (!found || !stands(r, i)) continue;
      const bool own = static_cast<int>(i) < ranks[r].owned;
      for (std::size_t c = 0; c < w; ++c)
        check(found[c] == (own ? value(sums, ranks[r].ids[i])[c] : T(0)), own ? "sum" : "zero");
    }
}

}    // namespace

// ranks_check: all cases. ranks_check WORLDS SHARED UNIVERSE DEVICES: the device of a process.
int main(int narg, char **arg)
{
  if (narg == 5) {
    const cgpot::Place place{std::atoi(arg[2]), std::atoi(arg[1]), std::atoi(arg[3])};
    std::printf("%d\n", cgpot::device_of(place, std::atoi(arg[4])));
    return 0;
  }
  int cases = 0;
  const std::vector<std::vector<int>> worlds{{5}, {3, 4}, {4, 0, 3}, {0, 0}, {1, 2, 5, 3}};
  for (const auto &sizes : worlds)
    for (const int capacity : {1, 2, 5})
      for (const int width : {1, 2, 3, 7, 12})
        for (const bool gaps : {false, true})
          for (const bool shared : {false, true}) {
            run<double>(sizes, capacity, width, gaps, shared);
            run<float>(sizes, capacity, width, gaps, shared);
            cases += 2;
          }
  std::printf("%d cases, %d failures\n", cases, failures);
  return failures ? 1 : 0;
}
