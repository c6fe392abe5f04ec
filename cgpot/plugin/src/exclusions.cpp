// SPDX-License-Identifier: GPL-2.0-or-later
#include "exclusions.h"

#include <algorithm>
#include <cmath>

namespace cgpot {

namespace {

constexpr std::array<const char *, 5> seen_words = {"all", "not-1-2", "not-1-3", "not-1-4",
                                                    "intermolecular"};

void sort_unique(std::vector<std::int64_t> &values)
{
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

}    // namespace

std::string SeenPairs::words()
{
  std::string out;
  for (const char *word : seen_words) out += (out.empty() ? "'" : ", '") + std::string(word) + "'";
  return out;
}

bool SeenPairs::read(const std::string &word, SeenPairs &out)
{
  const auto found = std::find(seen_words.begin(), seen_words.end(), word);
  if (found == seen_words.end()) return false;
  const auto at = static_cast<int>(found - seen_words.begin());
  out.intermolecular = at == 4;
  out.bonds = at < 4 ? at : 0;
  return true;
}

std::string SeenPairs::word() const
{
  return seen_words[intermolecular ? 4 : static_cast<std::size_t>(bonds)];
}

std::int64_t Exclusions::place(std::int64_t id) const
{
  const auto found = std::lower_bound(ids_.begin(), ids_.end(), id);
  return found != ids_.end() && *found == id ? found - ids_.begin() : -1;
}

void Exclusions::set_bonds(const std::vector<std::array<std::int64_t, 2>> &bonds, int most)
{
  ids_.clear();
  for (const auto &bond : bonds) ids_.insert(ids_.end(), bond.begin(), bond.end());
  sort_unique(ids_);
  const std::size_t count = ids_.size();
  std::vector<std::array<std::int64_t, 2>> ends;    // both ways, each once
  ends.reserve(2 * bonds.size());
  for (const auto &bond : bonds) {
    const std::int64_t a = place(bond[0]), b = place(bond[1]);
    ends.push_back({a, b});
    ends.push_back({b, a});
  }
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  first_bond_.assign(count + 1, 0);
  bonds_.clear();
  for (const auto &end : ends) {
    ++first_bond_[static_cast<std::size_t>(end[0]) + 1];
    bonds_.push_back(end[1]);
  }
  for (std::size_t n = 0; n < count; ++n) first_bond_[n + 1] += first_bond_[n];

  first_.assign(1, 0);
  near_.clear();
  std::vector<std::int64_t> reached;
  for (std::size_t n = 0; n < count; ++n) {
    reached.assign(1, static_cast<std::int64_t>(n));
    for (int step = 0; step < most; ++step) {
      const std::size_t known = reached.size();
      for (std::size_t k = 0; k < known; ++k) {
        const auto at = static_cast<std::size_t>(reached[k]);
        reached.insert(reached.end(), bonds_.begin() + static_cast<std::ptrdiff_t>(first_bond_[at]),
                       bonds_.begin() + static_cast<std::ptrdiff_t>(first_bond_[at + 1]));
      }
      sort_unique(reached);
    }
    for (const std::int64_t other : reached)
      if (other != static_cast<std::int64_t>(n)) near_.push_back(other);
    first_.push_back(near_.size());
  }
  ++version_;
}

bool Exclusions::has_partners(std::int64_t id, std::vector<std::int64_t> partners) const
{
  const std::int64_t at = place(id);
  if (at < 0) return partners.empty();
  sort_unique(partners);
  const auto n = static_cast<std::size_t>(at);
  const std::size_t begin = first_bond_[n], end = first_bond_[n + 1];
  if (partners.size() != end - begin) return false;
  for (std::size_t k = begin; k < end; ++k)
    if (ids_[static_cast<std::size_t>(bonds_[k])] != partners[k - begin]) return false;
  return true;
}

void Exclusions::set_cell(const double (&cell)[9], const bool (&periodic)[3], double skin)
{
  const double xx = cell[0], yx = cell[3], yy = cell[4], zx = cell[6], zy = cell[7], zz = cell[8];
  inverse_ = {1.0 / xx, 0.0, 0.0, -yx / (xx * yy), 1.0 / yy, 0.0,
              (yx * zy - yy * zx) / (xx * yy * zz), -zy / (yy * zz), 1.0 / zz};
  for (std::size_t k = 0; k < 3; ++k) {
    periodic_[k] = periodic[k];
    const double a = inverse_[k], b = inverse_[3 + k], c = inverse_[6 + k];
    // the cell may change a little as well
    margin_[k] = 1.1 * skin * std::sqrt(a * a + b * b + c * c) + 1e-6;
  }
}

std::vector<std::int64_t> Exclusions::codes() const
{
  std::vector<std::int64_t> out;
  out.reserve(near_.size());
  for (std::size_t n = 0; n + 1 < first_.size(); ++n)
    for (std::size_t k = first_[n]; k < first_[n + 1]; ++k)
      out.push_back(static_cast<std::int64_t>(n) * span() + near_[k]);
  return out;
}

std::size_t Exclusions::bytes() const
{
  return (keys_.capacity() + ids_.capacity() + near_.capacity() + bonds_.capacity()) *
      sizeof(std::int64_t) +
      (first_.capacity() + first_bond_.capacity()) * sizeof(std::size_t);
}

}    // namespace cgpot
