// SPDX-License-Identifier: GPL-2.0-or-later
// pair_style cgpot: a coarse-grained potential from a compiled model, or from several.
//
//   pair_style cgpot [spread N] [use mean|K] [threshold X] [action stop|warn|dump FILE] ...
//                    [ghosts auto|exchange|halo] [graph auto|host|device]
//   pair_coeff * * a.nequip.pt2 [b.nequip.pt2 ...] BNZ [...]
//
// A bead name for each atom type; NULL in hybrid. Several models are an ensemble: forces, energy
// and virial are the mean of all (use mean) or those of the K-th (use K). A file may hold several
// models, which are evaluated together.
//
// spread N      every N steps evaluate all members; bead i has the force spread
//               s_i = sqrt( sum_m |f_m,i - mean f_i|^2 / (k - 1) ), in force units of LAMMPS
// threshold X   act where the largest s_i exceeds X; action (repeatable): stop with an error, warn
//               (default), append the configuration to FILE as extended XYZ (spread in eV/Angstrom)
//
// ghosts        on several ranks, how a model that passes messages reaches beyond a subdomain:
//               exchange features of ghosts between its layers, or evaluate a halo of ghosts as
//               deep as its layers; auto (default) takes the one with less work
//
// graph         where edges are found: on the host, or on the device of the models (from positions
//               alone; nothing else goes up); auto (default): on GPUs, where nothing speaks against
//
// compute C all pair cgpot: c_C[1] largest s_i, [2] their root mean square, [3] spread of energy per
// bead, [4] of the pressure, [5] step at which these were evaluated (-1: not yet); [6] seconds
// in the models and [7] in the pair style since the steps of the run began, summed over ranks.
// fix F all pair N cgpot spread 0|1: s_i per atom; with 1 evaluated for this fix every N steps.
#pragma once

#include "pair.h"

#include <memory>
#include <string>
#include <vector>

namespace cgpot {
class DeviceGraph;
class DirectExchanger;
class GraphBuilder;
class RankExchanger;
class Spread;
enum class Ghosts;
struct Graph;
struct Member;
struct Options;
struct Place;
struct Tally;
}    // namespace cgpot

namespace LAMMPS_NS {

class PairCGPot : public Pair {
 public:
  explicit PairCGPot(class LAMMPS *);
  ~PairCGPot() override;

  void compute(int, int) override;
  void settings(int, char **) override;
  void coeff(int, char **) override;
  void init_style() override;
  double init_one(int, int) override;
  void *extract(const char *, int &) override;
  void *extract_peratom(const char *, int &) override;
  double memory_usage() override;
  int pack_forward_comm(int, int *, double *, int, int *) override;
  void unpack_forward_comm(int, int, double *) override;
  int pack_reverse_comm(int, int, double *) override;
  void unpack_reverse_comm(int, int *, double *) override;

 protected:
  virtual void allocate();

 private:
  std::unique_ptr<cgpot::Options> options_;
  std::vector<cgpot::Member> members_;    // files
  int models_ = 0;                       // models in them
  std::unique_ptr<cgpot::GraphBuilder> builder_;
  std::unique_ptr<cgpot::DeviceGraph> device_graph_;    // of this run; none: edges on the host
  std::vector<cgpot::Tally> tallies_;    // sums over edges of each model
  std::unique_ptr<cgpot::Tally> mean_tally_;
  std::unique_ptr<cgpot::Spread> spread_;
  std::unique_ptr<cgpot::DirectExchanger> exchanger_;
  std::unique_ptr<cgpot::RankExchanger> collector_;    // of the members' forces
  cgpot::Ghosts ghosts_;                 // of this run
  int reach_ = 1;                        // steps over which the models pass messages
  std::vector<double> mean_energies_;    // (owned nodes), model's units
  std::vector<double> homes_;            // (atoms, 2) rank and node there, while they are shared
  std::vector<double> summary_;          // pvector
  std::vector<double> atom_spread_;      // (atoms) s_i of the last evaluation
  std::vector<double> member_forces_;    // (atoms, members, 3) model's units
  std::vector<int> same_;                // 0 1 2 ...: rows of the collector are atoms
  std::vector<int> type_map_;            // model type of each atom type from 1, -1 for NULL
  std::vector<int> owner_;               // owned atom of each owned or ghost atom
  double cutoff_ = 0.0;                  // LAMMPS length unit
  double energy_scale_ = 1.0;            // LAMMPS energy per model energy
  double length_scale_ = 1.0;            // model length per LAMMPS length
  double per_ev_ = 1.0;                  // LAMMPS energy per eV
  struct ListStamp {    // tells one neighbour list from the next
    bigint step = -1, builds = -1;
    int nlocal = -1, nall = -1, centers = -1;
    bool operator==(const ListStamp &) const = default;
  };
  ListStamp list_stamp_;
  bigint spread_step_ = -1;              // step of the last evaluation
  bigint acted_step_ = -1;               // step of the last action
  double largest_spread_ = 0.0, rms_spread_ = 0.0;    // of all beads, on all ranks
  tagint largest_atom_ = 0;              // ID of the bead with the largest, on all ranks
  int largest_type_ = 0;                 // its type of the model
  int spread_wanted_ = 0;                // set by fix pair
  bool own_list_ = false;                // the builder finds neighbours, LAMMPS makes no list
  bool warned_exclusion_ = false;
  bool warned_stale_ = false;

  void open_models(const std::vector<std::string> &paths);
  void map_types(int narg, char **arg);
  void choose_ghosts();
  void choose_graph();
  void share_homes(const cgpot::Graph &graph);
  double halo_work() const;
  void check_special_bonds() const;
  void check_masses() const;
  struct Evaluation {
    const double *energies;         // (owned nodes)
    const cgpot::Tally *sums;       // over edges
  };
  const cgpot::Graph &build();
  void run(std::size_t member, const cgpot::Graph &graph, std::vector<Evaluation> &results);
  Evaluation evaluate(const cgpot::Graph &graph);
  bool spread_due();
  void tally_spread(const cgpot::Graph &graph, const std::vector<Evaluation> &results);
  void find_largest(const cgpot::Graph &graph);
  void act(const cgpot::Graph &graph);
  cgpot::Place place() const;
  void dump(const cgpot::Graph &graph) const;
  [[noreturn]] void fail_not_finite(const char *what) const;
};

}    // namespace LAMMPS_NS
