// SPDX-License-Identifier: GPL-2.0-or-later
// DirectExchanger between several ranks in one process, as threads, against direct sums. Prints the
// number of cases and of failures.
#include "direct.h"

#include <barrier>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

using cgpot::DirectExchanger;
using cgpot::Home;

namespace {

// What threads hand each other: all call its functions together.
struct Post {
  explicit Post(int ranks) :
      count(static_cast<std::size_t>(ranks)), numbers(count), send(count), lengths(count), gate(ranks)
  {
  }

  DirectExchanger::Transport of(std::size_t rank)
  {
    DirectExchanger::Transport out;
    out.numbers = [this, rank](const int *to, int *from) {
      numbers[rank] = to;
      gate.arrive_and_wait();
      for (std::size_t r = 0; r < count; ++r) from[r] = numbers[r][rank];
      gate.arrive_and_wait();
    };
    out.bytes = [this, rank](const char *data, const std::vector<std::size_t> &to, char *receive,
                             const std::vector<std::size_t> &from) {
      send[rank] = data;
      lengths[rank] = &to;
      gate.arrive_and_wait();
      for (std::size_t r = 0; r < count; receive += from[r++]) {
        const char *source = send[r];
        for (std::size_t k = 0; k < rank; ++k) source += (*lengths[r])[k];
        if ((*lengths[r])[rank] != from[r]) wrong = true;
        if (from[r] > 0) std::memcpy(receive, source, from[r]);
      }
      gate.arrive_and_wait();
    };
    return out;
  }

  std::size_t count;
  std::vector<const int *> numbers;
  std::vector<const char *> send;
  std::vector<const std::vector<std::size_t> *> lengths;
  std::barrier<> gate;
  bool wrong = false;
};

struct Rank {
  int owned = 0;
  std::vector<Home> homes;
  std::unique_ptr<DirectExchanger> exchanger;
};

template <typename T> int check(std::vector<Rank> &ranks, int width, std::mt19937 &random)
{
  std::normal_distribution<double> normal;
  const auto w = static_cast<std::size_t>(width);
  std::vector<std::vector<T>> rows(ranks.size()), back(ranks.size());
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    const std::size_t nodes = static_cast<std::size_t>(ranks[r].owned) + ranks[r].homes.size();
    for (std::size_t k = 0; k < nodes * w; ++k) {
      rows[r].push_back(static_cast<T>(normal(random)));
      back[r].push_back(static_cast<T>(normal(random)));
    }
  }
  // what is to come
  auto expected = rows, sums = back;
  for (std::size_t r = 0; r < ranks.size(); ++r)
    for (std::size_t k = 0; k < ranks[r].homes.size(); ++k) {
      const Home &home = ranks[r].homes[k];
      const std::size_t at = (static_cast<std::size_t>(ranks[r].owned) + k) * w;
      for (std::size_t c = 0; c < w; ++c) {
        if (home.rank >= 0) {
          const auto owner = static_cast<std::size_t>(home.rank);
          const std::size_t from = static_cast<std::size_t>(home.node) * w + c;
          expected[r][at + c] = rows[owner][from];
          sums[owner][from] += back[r][at + c];
        }
      }
    }
  for (std::size_t r = 0; r < ranks.size(); ++r)
    std::fill(sums[r].begin() + ranks[r].owned * width, sums[r].end(), T(0));
  std::vector<std::thread> threads;
  for (std::size_t r = 0; r < ranks.size(); ++r)
    threads.emplace_back([&, r] {
      const auto nodes = static_cast<std::int64_t>(rows[r].size() / w);
      ranks[r].exchanger->forward(rows[r].data(), nodes, width);
      ranks[r].exchanger->reverse(back[r].data(), nodes, width);
    });
  for (auto &thread : threads) thread.join();
  int failures = 0;
  for (std::size_t r = 0; r < ranks.size(); ++r)
    for (std::size_t k = 0; k < rows[r].size(); ++k)
      if (rows[r][k] != expected[r][k] ||
          std::fabs(static_cast<double>(back[r][k] - sums[r][k])) > 1e-5) {
        ++failures;
        break;
      }
  return failures;
}

}    // namespace

int main()
{
  std::mt19937 random(5);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  int cases = 0, failures = 0;
  for (int count = 1; count <= 5; ++count)
    for (int repeat = 0; repeat < 4; ++repeat) {
      Post post(count);
      std::vector<Rank> ranks(static_cast<std::size_t>(count));
      for (std::size_t r = 0; r < ranks.size(); ++r)
        ranks[r].exchanger = std::make_unique<DirectExchanger>(count, post.of(r));
      for (int step = 0; step < 3; ++step) {    // beads move between ranks, numbers change
        for (Rank &rank : ranks) rank.owned = below(4) == 0 ? 0 : below(12);
        for (std::size_t r = 0; r < ranks.size(); ++r) {
          ranks[r].homes.clear();
          for (int k = below(20); k > 0; --k) {
            const auto other = static_cast<std::size_t>(below(count));
            if (other == r || ranks[other].owned == 0 || below(5) == 0)
              ranks[r].homes.push_back({});
            else
              ranks[r].homes.push_back({static_cast<int>(other), below(ranks[other].owned)});
          }
        }
        std::vector<std::thread> threads;
        for (Rank &rank : ranks)
          threads.emplace_back([&rank] { rank.exchanger->begin(rank.homes, rank.owned); });
        for (auto &thread : threads) thread.join();
        for (int width : {1, 3, 8}) {
          failures += check<double>(ranks, width, random) + check<float>(ranks, width, random);
          cases += 2;
        }
      }
      failures += post.wrong ? 1 : 0;
    }
  std::printf("%d cases, %d failures\n", cases, failures);
  return failures ? 1 : 0;
}
