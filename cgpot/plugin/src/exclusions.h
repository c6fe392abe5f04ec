// SPDX-License-Identifier: GPL-2.0-or-later
// Pairs of atoms that a model does not see: those of one molecule, or those joined by few bonds.
// A pair is left out in its nearest image alone: a molecule sees its own periodic images. No LAMMPS
// and no torch types here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cgpot {

// Which pairs a model sees, the key `pairs` of its sidecar.
struct SeenPairs {
  bool intermolecular = false;    // only those of different molecules
  int bonds = 0;                  // not those joined by up to so many bonds

  bool all() const { return !intermolecular && bonds == 0; }
  // The words of the key, for a message: 'all', 'intermolecular', ...
  static std::string words();
  // False where it is none of them.
  static bool read(const std::string &word, SeenPairs &out);
  std::string word() const;
  bool operator==(const SeenPairs &) const = default;
};

class Exclusions {
 public:
  // The bonds of the whole system, by the IDs of their two atoms; others than before make new
  // codes(). most: pairs joined by up to so many are left out.
  void set_bonds(const std::vector<std::array<std::int64_t, 2>> &bonds, int most);
  // Whether an atom has exactly these partners (in any order, each once).
  bool has_partners(std::int64_t id, std::vector<std::int64_t> partners) const;

  // Molecule of each atom: pairs of one molecule are left out.
  template <typename Id> void set_molecules(const Id *molecule, int count)
  {
    bonded_ = false;
    keys_.assign(molecule, molecule + count);
  }
  // ID of each atom: pairs of the bonds are left out.
  template <typename Id> void set_ids(const Id *id, int count)
  {
    bonded_ = true;
    keys_.resize(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) keys_[static_cast<std::size_t>(i)] = place(id[i]);
  }
  // cell: rows (lower triangular) in the unit of positions; skin: how far two atoms come nearer or
  // part before a list is made anew.
  void set_cell(const double (&cell)[9], const bool (&periodic)[3], double skin);

  // Whether two atoms are excluded, in whatever image.
  bool excludes(int i, int j) const
  {
    const std::int64_t a = keys_[static_cast<std::size_t>(i)], b = keys_[static_cast<std::size_t>(j)];
    if (!bonded_) return a == b;
    if (a < 0 || b < 0) return false;
    const auto end = first_[static_cast<std::size_t>(a) + 1];
    for (auto k = first_[static_cast<std::size_t>(a)]; k < end; ++k)
      if (near_[k] == b) return true;
    return false;
  }

  // Whether d (from one atom to the other) is that of nearest images, as fractions of the cell tell
  // (at half the cell both images are). `doubtful` becomes true where that may change before the
  // next list, and else is left as it is.
  bool nearest(const double *d, bool &doubtful) const
  {
    bool inside = true, sure_outside = false, sure_inside = true;
    for (std::size_t k = 0; k < 3; ++k) {
      if (!periodic_[k]) continue;
      const double f = d[0] * inverse_[k] + d[1] * inverse_[3 + k] + d[2] * inverse_[6 + k];
      const double beyond = (f < 0.0 ? -f : f) - half;
      inside = inside && beyond <= 0.0;
      sure_outside = sure_outside || beyond > margin_[k];
      sure_inside = sure_inside && beyond <= -margin_[k];
    }
    doubtful = doubtful || !(sure_outside || sure_inside);
    return inside;
  }

  static constexpr double half = 0.5 + 1e-9;

  // For the same on a device.
  bool bonded() const { return bonded_; }
  const std::vector<std::int64_t> &keys() const { return keys_; }    // (atoms)
  std::int64_t span() const { return static_cast<std::int64_t>(ids_.size()); }
  // Excluded pairs of keys as key * span() + other key, in order.
  std::vector<std::int64_t> codes() const;
  std::int64_t version() const { return version_; }    // of codes()
  const std::array<double, 9> &inverse() const { return inverse_; }    // fractions are d @ inverse
  const std::array<double, 3> &margin() const { return margin_; }
  const std::array<bool, 3> &periodic() const { return periodic_; }

  std::size_t bytes() const;

 private:
  std::int64_t place(std::int64_t id) const;

  bool bonded_ = false;
  std::vector<std::int64_t> keys_;       // (atoms) molecule, or place in `ids_`, -1 for none
  std::vector<std::int64_t> ids_;        // of atoms with bonds, sorted
  std::vector<std::size_t> first_;       // (ids + 1) first excluded partner of each
  std::vector<std::int64_t> near_;       // their places, sorted
  std::vector<std::size_t> first_bond_;  // (ids + 1)
  std::vector<std::int64_t> bonds_;      // places of the bonded ones, sorted
  std::int64_t version_ = 0;
  std::array<double, 9> inverse_{};
  std::array<double, 3> margin_{};
  std::array<bool, 3> periodic_{};
};

}    // namespace cgpot
