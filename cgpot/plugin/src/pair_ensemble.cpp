// SPDX-License-Identifier: GPL-2.0-or-later
#include "pair_ensemble.h"

#include "framefile.h"
#include "graph.h"
#include "ranks.h"

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "error.h"
#include "force.h"
#include "pair.h"
#include "universe.h"
#include "update.h"
#include "utils.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace cgpot {

using namespace LAMMPS_NS;

PairEnsemble::PairEnsemble(LAMMPS *lmp, Pair &pair) :
    Pointers(lmp), pair_(pair), summary_(summary_length, 0.0)
{
  if (comm->me == 0) summary_[spread_step_entry] = -1.0;    // compute pair sums over ranks
}

PairEnsemble::~PairEnsemble() = default;

void PairEnsemble::open(const std::vector<std::string> &paths, const Options &options)
{
  options_ = options;
  members_.clear();
  const Place here = place();
  try {
    for (const auto &path : paths) {
      Member member = open_member(path, here);
      for (const auto &other : members_) check_member(other, member);
      members_.push_back(std::move(member));
    }
  } catch (const std::exception &e) {
    members_.clear();
    error->all(FLERR, e.what());
  }
  models_ = 0;
  for (const auto &member : members_) models_ += member.count;
  const int count = models_;
  if (count < 2 && options_.ensemble())
    error->all(FLERR, std::string("pair_style cgpot: keyword '") +
                          (options_.spread > 0 ? "spread" : "use") +
                          "' needs at least two models in pair_coeff, found one");
  if (options_.use > count)
    error->all(FLERR, "pair_style cgpot: `use " + std::to_string(options_.use) + "`, but "
                          "pair_coeff names " + std::to_string(count) + " models");

  scales_.per_ev = std::strcmp(update->unit_style, "real") == 0
      ? utils::get_conversion_factor(utils::ENERGY, utils::METAL2REAL)
      : 1.0;
  const Sidecar &first = members_[0].sidecar;
  scales_.energy = first.energy_in_ev() * scales_.per_ev;
  scales_.length = 1.0 / first.length_in_angstrom();
  double longest = 0.0;
  form_ = {true, false};
  for (const auto &member : members_) {
    longest = std::max(longest, member.sidecar.cutoff);
    form_.single = form_.single && member.form.single;
    form_.centers = form_.centers || member.form.centers;
  }
  cutoff_ = longest / scales_.length;
  tallies_.resize(static_cast<std::size_t>(count));
  spread_step_ = acted_step_ = -1;
  std::fill(summary_.begin(), summary_.end(), 0.0);
  if (comm->me != 0) return;
  summary_[spread_step_entry] = -1.0;
  tell();
}

// Into the log what has been opened.
void PairEnsemble::tell() const
{
  for (const auto &member : members_)
    utils::logmesg(lmp, "cgpot: " + member.path + ", beads " + joined(member.sidecar.bead_names) +
                            ", cutoff " + number(member.sidecar.cutoff / scales_.length) +
                            " Angstrom, " +
                            (member.sidecar.pairs.all()
                                 ? std::string()
                                 : "pairs " + member.sidecar.pairs.word() + ", ") +
                            member.sidecar.dtype + " on " + member.device_text +
                            (member.count > 1 ? ", " + std::to_string(member.count) +
                                     " models in one batch"
                                              : std::string()) +
                            "\n");
  if (models_ > 1)
    utils::logmesg(lmp, "cgpot: ensemble of " + std::to_string(models_) + " models, forces of " +
                            (options_.use ? "member " + std::to_string(options_.use)
                                           : std::string("their mean")) +
                            (options_.spread
                                 ? ", spread every " + std::to_string(options_.spread) + " steps"
                                 : std::string()) +
                            "\n");
}

void PairEnsemble::init(const Options &options, bool shared)
{
  options_ = options;
  pair_.comm_reverse = 0;
  collector_.reset();
  if (models_ < 2 || !shared) return;
  const int columns = 3 * models_;
  pair_.comm_reverse = columns;
  collector_ = std::make_unique<RankExchanger>(
      [](int) {}, [this](int size) { comm->reverse_comm(&pair_, size); }, columns);
  // LAMMPS sizes its buffers by the outermost style: pair_style hybrid has asked us before
  force->pair->comm_reverse = std::max(force->pair->comm_reverse, columns);
}

Place PairEnsemble::place() const
{
  Place place;
  place.worlds = universe->nworlds;
  place.universe = universe->me;
#ifndef MPI_STUBS
  MPI_Comm machine;
  MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, comm->me, MPI_INFO_NULL, &machine);
  MPI_Comm_rank(machine, &place.shared);
  MPI_Comm_free(&machine);
#endif
  return place;
}

// Whether the spread is evaluated now: the same on all ranks.
bool PairEnsemble::spread_due()
{
  const bool due = models_ > 1 &&
      (spread_wanted_ ||
       (options_.spread > 0 && update->ntimestep % options_.spread == 0));
  spread_wanted_ = 0;
  return due;
}

// Evaluates a file; the results of its models are added to `results`.
void PairEnsemble::run(std::size_t member, const Graph &graph, DeviceGraph *device,
                       Exchanger *exchanger, std::vector<Evaluation> &results)
{
  Model &model = *members_[member].model;
  std::size_t first = 0;
  for (std::size_t m = 0; m < member; ++m) first += static_cast<std::size_t>(members_[m].count);
  Tally *tallies = &tallies_[first];
  try {
    const auto asked = std::chrono::steady_clock::now();
    const Model::Result found = device ? model.evaluate(*device, exchanger, tallies)
                                       : model.evaluate(graph, exchanger);
    if (!update->setupflag)
      summary_[model_time_entry] +=
          std::chrono::duration<double>(std::chrono::steady_clock::now() - asked).count();
    for (std::size_t m = 0; m < static_cast<std::size_t>(members_[member].count); ++m) {
      const std::size_t at = m * 3 * graph.padded_edges;
      if (found.gradient) tallies[m].sum(graph, found.gradient + at);
      if (found.single_gradient) tallies[m].sum(graph, found.single_gradient + at);
      results.push_back({found.energies + m * found.rows, tallies + m});
    }
  } catch (const std::exception &e) {
    error->one(FLERR, "model file " + members_[member].path + ": " + e.what());
  }
}

PairEnsemble::Evaluation PairEnsemble::evaluate(const Graph &graph, DeviceGraph *device,
                                                Exchanger *exchanger, bool total_virial,
                                                bool atom_virial)
{
  for (Tally &tally : tallies_) {
    tally.total_virial = total_virial;
    tally.atom_virial = atom_virial;
  }
  std::vector<Evaluation> results;
  const bool spread = spread_due();
  auto used = static_cast<std::size_t>(options_.use);
  if (used && !spread) {
    std::size_t file = 0;
    while (used > static_cast<std::size_t>(members_[file].count))
      used -= static_cast<std::size_t>(members_[file++].count);
    run(file, graph, device, exchanger, results);
    return results[used - 1];
  }
  if (spread)
    for (Tally &tally : tallies_) tally.total_virial = true;
  for (std::size_t m = 0; m < members_.size(); ++m) run(m, graph, device, exchanger, results);
  if (spread) tally_spread(graph, results);
  if (used) return results[used - 1];
  if (results.size() == 1) return results[0];

  const auto nodes = static_cast<std::size_t>(graph.owned);
  const double weight = 1.0 / static_cast<double>(results.size());
  mean_energies_.assign(nodes, 0.0);
  mean_tally_.atom_virial = atom_virial;
  for (std::size_t m = 0; m < results.size(); ++m) {
    for (std::size_t n = 0; n < nodes; ++n) mean_energies_[n] += weight * results[m].energies[n];
    mean_tally_.add(*results[m].sums, weight, m == 0);
  }
  return {mean_energies_.data(), &mean_tally_};
}

void PairEnsemble::evaluate_none(const Graph &graph)
{
  if (spread_due()) tally_spread(graph, {});
}

// results: of each member, or none on a rank without beads, which only takes part.
void PairEnsemble::tally_spread(const Graph &graph, const std::vector<Evaluation> &results)
{
  // forces on ghosts go to their owners atom by atom: a ghost that is no node here may be on the
  // way of one that is a node elsewhere
  const auto members = static_cast<std::size_t>(models_);
  const std::size_t stride = 3 * members;
  const auto nall = static_cast<std::size_t>(atom->nlocal + atom->nghost);
  std::vector<double> energies(members, 0.0), traces(members, 0.0);
  member_forces_.assign(nall * stride, 0.0);
  for (std::size_t m = 0; m < results.size(); ++m) {
    const Tally &sums = *results[m].sums;
    for (int n = 0; n < graph.nodes; ++n) {
      const auto node = static_cast<std::size_t>(n);
      const auto row = static_cast<std::size_t>(graph.atoms[node]);
      std::copy_n(&sums.forces[3 * node], 3, &member_forces_[row * stride + 3 * m]);
    }
    for (int n = 0; n < graph.owned; ++n) energies[m] += results[m].energies[n];
    const double *w = sums.virial;
    traces[m] = w[0] + w[1] + w[2];
  }
  if (collector_) {
    same_.resize(nall);
    for (std::size_t i = 0; i < nall; ++i) same_[i] = static_cast<int>(i);
    collector_->begin(same_, same_, atom->nlocal);
    collector_->reverse(member_forces_.data(), static_cast<std::int64_t>(nall),
                        static_cast<int>(stride));
  }
  const auto owned = static_cast<std::size_t>(graph.owned);
  std::vector<double> forces(3 * owned);
  spread_.begin(graph.owned);
  for (std::size_t m = 0; m < members; ++m) {
    for (std::size_t n = 0; n < owned; ++n)
      std::copy_n(&member_forces_[static_cast<std::size_t>(graph.atoms[n]) * stride + 3 * m], 3,
                  &forces[3 * n]);
    spread_.add(forces.data(), 3, energies[m], traces[m]);
  }
  spread_.finish([this](double *values, int count) {
    MPI_Allreduce(MPI_IN_PLACE, values, count, MPI_DOUBLE, MPI_SUM, world);
  });
  spread_step_ = update->ntimestep;

  const double force_scale = scales_.force();
  const double volume = domain->xprd * domain->yprd * domain->zprd;
  find_largest(graph);
  rms_spread_ = force_scale * spread_.rms;
  if (comm->me == 0) {    // compute pair sums over ranks
    summary_[0] = largest_spread_;
    summary_[1] = rms_spread_;
    summary_[2] = scales_.energy * spread_.energy;
    summary_[3] = scales_.energy * spread_.trace / (3.0 * volume) * force->nktv2p;
    summary_[spread_step_entry] = static_cast<double>(spread_step_);
  }
  atom_spread_.assign(std::max<std::size_t>(static_cast<std::size_t>(atom->nmax), 1), 0.0);
  for (std::size_t n = 0; n < owned; ++n)
    atom_spread_[static_cast<std::size_t>(graph.atoms[n])] = force_scale * spread_.beads[n];
}

// The largest spread of all ranks, which bead it is.
void PairEnsemble::find_largest(const Graph &graph)
{
  struct {
    double value;
    int rank;
  } here{spread_.largest, comm->me}, all;
  const double infinity = std::numeric_limits<double>::infinity();
  if (std::isnan(here.value)) here.value = infinity;
  MPI_Allreduce(&here, &all, 1, MPI_DOUBLE_INT, MPI_MAXLOC, world);
  double found[3] = {std::max(0.0, spread_.largest), 0.0, 0.0};
  if (std::isnan(spread_.largest)) found[0] = spread_.largest;
  if (spread_.largest_node >= 0) {
    const auto node = static_cast<std::size_t>(spread_.largest_node);
    found[1] = static_cast<double>(atom->tag[graph.atoms[node]]);
    found[2] = static_cast<double>(graph.types[node]);
  }
  MPI_Bcast(found, 3, MPI_DOUBLE, all.rank, world);
  largest_spread_ = scales_.force() * found[0];
  largest_atom_ = static_cast<tagint>(found[1]);
  largest_type_ = static_cast<int>(found[2]);
}

// All ranks together: they agree on what is too large.
void PairEnsemble::act(const Graph &graph)
{
  if (spread_step_ != update->ntimestep || !(options_.threshold > 0.0)) return;
  // the first step of a run is the last of the run before; a NaN must not pass
  if (acted_step_ == spread_step_ || largest_spread_ <= options_.threshold) return;
  acted_step_ = spread_step_;
  const std::string unit = scales_.per_ev == 1.0 ? " eV/Angstrom" : " kcal/mol/Angstrom";
  const std::string message = "cgpot: the models disagree on the force on atom " +
      std::to_string(largest_atom_) + " (" +
      members_[0].sidecar.bead_names[static_cast<std::size_t>(largest_type_)] + ") at step " +
      std::to_string(spread_step_) + ": spread " + number(largest_spread_) + unit +
      ", threshold " + number(options_.threshold);
  if (!options_.dump.empty()) {
    try {
      dump(graph);
    } catch (const std::exception &e) {
      error->one(FLERR, std::string("pair_style cgpot, action dump: ") + e.what());
    }
  }
  if (options_.stop) error->all(FLERR, message);
  if (options_.warn && comm->me == 0) error->warning(FLERR, message);
}

// Rank 0 gathers the beads of all and writes them.
void PairEnsemble::dump(const Graph &graph) const
{
  constexpr int columns = 7;    // ID, type, molecule, position, spread
  std::vector<double> rows;
  for (int n = 0; n < graph.owned; ++n) {
    const auto node = static_cast<std::size_t>(n);
    const int i = graph.atoms[node];
    const auto id = static_cast<double>(atom->tag[i]);
    const double molecule = atom->molecule_flag ? static_cast<double>(atom->molecule[i]) : 0.0;
    rows.insert(rows.end(), {id, static_cast<double>(graph.types[node]),
                             molecule > 0.0 ? molecule - 1.0 : id - 1.0});
    for (int k = 0; k < 3; ++k) rows.push_back(atom->x[i][k] - domain->boxlo[k]);
    rows.push_back(atom_spread_[static_cast<std::size_t>(i)] / scales_.per_ev);
  }
  const int length = static_cast<int>(rows.size());
  std::vector<int> lengths(static_cast<std::size_t>(comm->nprocs)), starts(lengths.size(), 0);
  MPI_Gather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, 0, world);
  std::size_t total = 0;
  for (std::size_t r = 0; comm->me == 0 && r < lengths.size(); ++r) {
    starts[r] = static_cast<int>(total);
    total += static_cast<std::size_t>(lengths[r]);
  }
  std::vector<double> gathered(total);
  MPI_Gatherv(rows.data(), length, MPI_DOUBLE, gathered.data(), lengths.data(), starts.data(),
              MPI_DOUBLE, 0, world);
  if (comm->me != 0) return;

  const bool metal = scales_.per_ev == 1.0;
  Configuration c;
  const double cell[9] = {domain->xprd, 0.0, 0.0, domain->xy, domain->yprd, 0.0,
                          domain->xz, domain->yz, domain->zprd};
  std::copy(cell, cell + 9, c.cell);
  for (int k = 0; k < 3; ++k) c.periodic[k] = domain->periodicity[k] != 0;
  c.type_names = members_[0].sidecar.bead_names;
  c.type_masses = members_[0].sidecar.masses;
  for (std::size_t k = 0; k < total; k += columns) {
    c.ids.push_back(static_cast<std::int64_t>(gathered[k]));
    c.types.push_back(static_cast<int>(gathered[k + 1]));
    c.molecules.push_back(static_cast<std::int64_t>(gathered[k + 2]));
    c.positions.insert(c.positions.end(), &gathered[k + 3], &gathered[k + 3] + 3);
    c.spreads.push_back(gathered[k + 6]);
  }
  c.step = spread_step_;
  c.time = (update->atime + static_cast<double>(spread_step_ - update->atimestep) * update->dt) *
      (metal ? 1.0 : 1e-3);
  c.largest = largest_spread_ / scales_.per_ev;
  c.rms = rms_spread_ / scales_.per_ev;
  append_configuration(options_.dump, c);
}

int *PairEnsemble::wanted()
{
  if (models_ < 2)
    error->all(FLERR, "pair_style cgpot: the spread needs at least two models in pair_coeff");
  return &spread_wanted_;
}

double *PairEnsemble::atom_spread()
{
  const auto length = static_cast<std::size_t>(atom->nmax);
  // values of an earlier step would belong to other atoms: LAMMPS sorts and exchanges them
  if (spread_step_ != update->ntimestep || atom_spread_.size() < length) {
    if (spread_step_ != update->ntimestep && !warned_stale_ && update->whichflag != 0) {
      warned_stale_ = true;
      if (comm->me == 0)
        error->warning(FLERR, "cgpot: the spread was asked for at a step at which it was not "
                              "evaluated and is given as zero: make `fix pair N` a multiple of "
                              "`spread N`, or give its flag as 1");
    }
    atom_spread_.assign(std::max<std::size_t>(length, 1), 0.0);
  }
  return atom_spread_.data();
}

int PairEnsemble::pack_reverse(int n, int first, double *buffer) const
{
  return collector_->pack_reverse(n, first, buffer);
}

void PairEnsemble::unpack_reverse(int n, const int *list, const double *buffer)
{
  collector_->unpack_reverse(n, list, buffer);
}

double PairEnsemble::bytes() const
{
  std::size_t doubles =
      mean_energies_.capacity() + atom_spread_.capacity() + member_forces_.capacity();
  for (const Tally &tally : tallies_)
    doubles += tally.forces.capacity() + tally.virials.capacity();
  doubles += mean_tally_.forces.capacity() + mean_tally_.virials.capacity();
  return static_cast<double>(spread_.bytes() + doubles * sizeof(double));
}

}    // namespace cgpot
