// SPDX-License-Identifier: GPL-2.0-or-later
#include "direct.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

namespace cgpot {

namespace {

std::size_t total(const std::vector<int> &counts)
{
  return static_cast<std::size_t>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
}

}    // namespace

DirectExchanger::DirectExchanger(int ranks, Transport transport) :
    ranks_(ranks), transport_(std::move(transport))
{
}

// Between ranks by their numbers of rows.
void DirectExchanger::move(std::size_t row, const std::vector<int> &to, const std::vector<int> &from)
{
  const auto ranks = static_cast<std::size_t>(ranks_);
  to_.resize(ranks);
  from_.resize(ranks);
  for (std::size_t r = 0; r < ranks; ++r) {
    to_[r] = row * static_cast<std::size_t>(to[r]);
    from_[r] = row * static_cast<std::size_t>(from[r]);
  }
  const std::size_t length = row * total(from);
  if (receive_.size() < length) receive_.resize(length);
  transport_.bytes(send_.data(), to_, receive_.data(), from_);
}

void DirectExchanger::begin(const std::vector<Home> &homes, int owned)
{
  owned_ = owned;
  const auto ranks = static_cast<std::size_t>(ranks_);
  ghosts_of_.assign(ranks, 0);
  given_to_.assign(ranks, 0);
  for (const Home &home : homes)
    if (home.rank >= 0) ++ghosts_of_[static_cast<std::size_t>(home.rank)];
  std::vector<std::size_t> next(ranks, 0);
  for (std::size_t r = 1; r < ranks; ++r)
    next[r] = next[r - 1] + static_cast<std::size_t>(ghosts_of_[r - 1]);
  const std::size_t wanted = total(ghosts_of_);
  ghosts_.resize(wanted);
  if (send_.size() < sizeof(int) * wanted) send_.resize(sizeof(int) * wanted);
  for (std::size_t k = 0; k < homes.size(); ++k) {
    const Home &home = homes[k];
    if (home.rank < 0) continue;
    const std::size_t at = next[static_cast<std::size_t>(home.rank)]++;
    ghosts_[at] = owned + static_cast<int>(k);
    std::memcpy(send_.data() + sizeof(int) * at, &home.node, sizeof(int));
  }
  // what is wanted from whom, and by whom
  transport_.numbers(ghosts_of_.data(), given_to_.data());
  move(sizeof(int), ghosts_of_, given_to_);
  given_.resize(total(given_to_));
  if (!given_.empty()) std::memcpy(given_.data(), receive_.data(), sizeof(int) * given_.size());
}

template <typename T> void DirectExchanger::give(T *rows, int width)
{
  const std::size_t length = sizeof(T) * static_cast<std::size_t>(width);
  if (send_.size() < length * given_.size()) send_.resize(length * given_.size());
  for (std::size_t k = 0; k < given_.size(); ++k)
    std::memcpy(send_.data() + length * k, rows + static_cast<std::int64_t>(given_[k]) * width, length);
  move(length, given_to_, ghosts_of_);
  for (std::size_t k = 0; k < ghosts_.size(); ++k)
    std::memcpy(rows + static_cast<std::int64_t>(ghosts_[k]) * width, receive_.data() + length * k,
                length);
}

template <typename T>
void DirectExchanger::take_back(T *rows, std::int64_t nodes, int width)
{
  const std::size_t length = sizeof(T) * static_cast<std::size_t>(width);
  if (send_.size() < length * ghosts_.size()) send_.resize(length * ghosts_.size());
  for (std::size_t k = 0; k < ghosts_.size(); ++k)
    std::memcpy(send_.data() + length * k, rows + static_cast<std::int64_t>(ghosts_[k]) * width, length);
  move(length, ghosts_of_, given_to_);
  const auto columns = static_cast<std::size_t>(width);
  for (std::size_t k = 0; k < given_.size(); ++k) {
    T *to = rows + static_cast<std::int64_t>(given_[k]) * width;
    // resized buffers of bytes are aligned for any number
    const T *from = reinterpret_cast<const T *>(receive_.data() + length * k);
    for (std::size_t c = 0; c < columns; ++c) to[c] += from[c];
  }
  std::fill(rows + static_cast<std::int64_t>(owned_) * width, rows + nodes * width, T(0));
}

void DirectExchanger::forward(double *rows, std::int64_t, int width)
{
  give(rows, width);
}
void DirectExchanger::forward(float *rows, std::int64_t, int width)
{
  give(rows, width);
}
void DirectExchanger::reverse(double *rows, std::int64_t nodes, int width)
{
  take_back(rows, nodes, width);
}
void DirectExchanger::reverse(float *rows, std::int64_t nodes, int width)
{
  take_back(rows, nodes, width);
}

std::size_t DirectExchanger::bytes() const
{
  return send_.capacity() + receive_.capacity() +
      sizeof(int) * (ghosts_.capacity() + given_.capacity());
}

}    // namespace cgpot
