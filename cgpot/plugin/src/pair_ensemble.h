// SPDX-License-Identifier: GPL-2.0-or-later
// The models of a pair style: opened together, evaluated one after another or in one batch, and
// averaged; the spread of their forces, and what is done where it is too large.
#pragma once

#include "graph.h"
#include "member.h"
#include "options.h"
#include "spread.h"

#include "pointers.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace LAMMPS_NS {
class Pair;
}

namespace cgpot {

class DeviceGraph;
class Exchanger;
class RankExchanger;

struct Scales {
  double energy = 1.0;    // LAMMPS energy per model energy
  double length = 1.0;    // model length per LAMMPS length
  double per_ev = 1.0;    // LAMMPS energy per eV

  double force() const { return energy * length; }
};

class PairEnsemble : protected LAMMPS_NS::Pointers {
 public:
  PairEnsemble(LAMMPS_NS::LAMMPS *lmp, LAMMPS_NS::Pair &pair);
  ~PairEnsemble() override;

  // Opens the files; errors are LAMMPS's.
  void open(const std::vector<std::string> &paths, const Options &options);
  // Before a run. shared: whether forces on ghosts of each member go to owners by themselves.
  void init(const Options &options, bool shared);

  const std::vector<Member> &members() const { return members_; }
  const Sidecar &first() const { return members_[0].sidecar; }
  const Scales &scales() const { return scales_; }
  double cutoff() const { return cutoff_; }              // the longest, LAMMPS length unit
  const EdgeForm &form() const { return form_; }         // what all of them can do with

  // Energies and forces that drive the beads. All models run where their mean or their spread is
  // needed, else the file with the used one. device: the edges, where they are not in `graph`.
  struct Evaluation {
    const double *energies;    // (owned nodes)
    const Tally *sums;         // over edges
  };
  Evaluation evaluate(const Graph &graph, DeviceGraph *device, Exchanger *exchanger,
                      bool total_virial, bool atom_virial);
  // What a rank without beads does in its place: the spread is a matter of all ranks.
  void evaluate_none(const Graph &graph);
  // Acts where the spread of this step is too large: all ranks together.
  void act(const Graph &graph);

  // For compute pair: spread, times; (summary_length).
  static constexpr int summary_length = 7;
  double *summary() { return summary_.data(); }
  double &pair_time() { return summary_[pair_time_entry]; }
  void reset_times() { summary_[model_time_entry] = summary_[pair_time_entry] = 0.0; }

  // For fix pair: a flag that asks for the spread, and values of the atoms.
  int *wanted();
  double *atom_spread();

  int pack_reverse(int n, int first, double *buffer) const;
  void unpack_reverse(int n, const int *list, const double *buffer);
  double bytes() const;

 private:
  static constexpr int spread_step_entry = 4, model_time_entry = 5, pair_time_entry = 6;

  LAMMPS_NS::Pair &pair_;
  Options options_;
  std::vector<Member> members_;          // files
  int models_ = 0;                       // models in them
  Scales scales_;
  double cutoff_ = 0.0;
  EdgeForm form_;
  std::vector<Tally> tallies_;           // sums over edges of each model
  Tally mean_tally_;
  Spread spread_;
  std::unique_ptr<RankExchanger> collector_;    // of the members' forces
  std::vector<double> mean_energies_;    // (owned nodes), model's units
  std::vector<double> summary_;          // pvector
  std::vector<double> atom_spread_;      // (atoms) s_i of the last evaluation
  std::vector<double> member_forces_;    // (atoms, members, 3) model's units
  std::vector<int> same_;                // 0 1 2 ...: rows of the collector are atoms
  LAMMPS_NS::bigint spread_step_ = -1;   // step of the last evaluation
  LAMMPS_NS::bigint acted_step_ = -1;    // step of the last action
  double largest_spread_ = 0.0, rms_spread_ = 0.0;    // of all beads, on all ranks
  LAMMPS_NS::tagint largest_atom_ = 0;   // ID of the bead with the largest, on all ranks
  int largest_type_ = 0;                 // its type of the model
  int spread_wanted_ = 0;                // set by fix pair
  bool warned_stale_ = false;

  Place place() const;
  void tell() const;
  void run(std::size_t member, const Graph &graph, DeviceGraph *device, Exchanger *exchanger,
           std::vector<Evaluation> &results);
  bool spread_due();
  void tally_spread(const Graph &graph, const std::vector<Evaluation> &results);
  void find_largest(const Graph &graph);
  void dump(const Graph &graph) const;
};

}    // namespace cgpot
