// SPDX-License-Identifier: GPL-2.0-or-later
#include "sidecar.h"

#include "json.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>

namespace cgpot {

const char *const model_extension = ".nequip.pt2";

namespace {

constexpr const char *expected_format = "cgpot-model-1";

// CODATA 2018: 1 eV = 1.602176634e-19 J, N_A = 6.02214076e23, 1 kcal = 4184 J
const std::map<std::string, double> energy_units = {
    {"eV", 1.0}, {"kcal/mol", 1.0 / 23.060547830619029}, {"kJ/mol", 1.0 / 96.48533212331002}};
const std::map<std::string, double> length_units = {{"angstrom", 1.0}, {"nm", 10.0}};

std::string one_of(const std::map<std::string, double> &units)
{
  std::string out;
  for (const auto &unit : units) out += (out.empty() ? "'" : ", '") + unit.first + "'";
  return out;
}

class Reader {
 public:
  Reader(const std::string &path, const Json &root) : path_(path), root_(root) {}

  [[noreturn]] void fail(const std::string &key, const std::string &what) const
  {
    throw std::runtime_error("sidecar file " + path_ + ", key '" + key + "': " + what);
  }

  // key may have one dot, "units.energy"
  const Json &get(const std::string &key, Json::Kind kind) const
  {
    static const Json example = [] { return Json(); }();
    const auto dot = key.find('.');
    const Json *value = root_.find(key.substr(0, dot));
    if (value && dot != std::string::npos) value = value->find(key.substr(dot + 1));
    Json wanted = example;
    wanted.kind = kind;
    if (!value) fail(key, std::string("missing; expected ") + wanted.kind_name());
    if (value->kind != kind)
      fail(key, std::string("expected ") + wanted.kind_name() + ", found " + value->kind_name());
    return *value;
  }

  std::string text(const std::string &key) const { return get(key, Json::Kind::string).string; }

  std::string unit(const std::string &key, const std::map<std::string, double> &units) const
  {
    const std::string name = text(key);
    if (!units.count(name)) fail(key, "unknown unit '" + name + "'; expected " + one_of(units));
    return name;
  }

  std::string choice(const std::string &key, const std::string &a, const std::string &b) const
  {
    const std::string value = text(key);
    if (value != a && value != b)
      fail(key, "expected '" + a + "' or '" + b + "', found '" + value + "'");
    return value;
  }

  double positive(const std::string &key, const Json &value) const
  {
    if (value.kind != Json::Kind::number)
      fail(key, std::string("expected a number, found ") + value.kind_name());
    if (!(value.number > 0.0) || !std::isfinite(value.number))
      fail(key, "expected a positive number, found " + std::to_string(value.number));
    return value.number;
  }

 private:
  const std::string &path_;
  const Json &root_;
};

}    // namespace

double Sidecar::energy_in_ev() const { return energy_units.at(energy_unit); }
double Sidecar::length_in_angstrom() const { return length_units.at(length_unit); }

std::string sidecar_path(const std::string &model_path)
{
  return model_path.substr(0, model_path.size() - std::strlen(model_extension)) + ".cgpot.json";
}

Sidecar read_sidecar(const std::string &model_path)
{
  Sidecar out;
  out.path = sidecar_path(model_path);
  std::ifstream in(out.path, std::ios::binary);
  if (!in)
    throw std::runtime_error("sidecar file " + out.path + " is missing: it holds the units, bead "
                             "names and masses of " + model_path +
                             "; `cgpot deploy` writes it, copy it along with the model");
  std::ostringstream content;
  content << in.rdbuf();

  Json root;
  try {
    root = Json::parse(content.str());
  } catch (const std::exception &e) {
    throw std::runtime_error("sidecar file " + out.path + ", " + e.what());
  }
  const Reader reader(out.path, root);

  const std::string format = reader.text("format");
  if (format != expected_format)
    reader.fail("format", "expected '" + std::string(expected_format) + "', found '" + format + "'");
  out.energy_unit = reader.unit("units.energy", energy_units);
  out.length_unit = reader.unit("units.length", length_units);
  for (const Json &name : reader.get("bead_names", Json::Kind::array).items) {
    if (name.kind != Json::Kind::string)
      reader.fail("bead_names", std::string("expected strings, found ") + name.kind_name());
    out.bead_names.push_back(name.string);
  }
  if (out.bead_names.empty()) reader.fail("bead_names", "the list is empty");
  for (const Json &mass : reader.get("masses", Json::Kind::array).items)
    out.masses.push_back(reader.positive("masses", mass));
  if (out.masses.size() != out.bead_names.size())
    reader.fail("masses", "expected " + std::to_string(out.bead_names.size()) +
                              " values, one for each bead name, found " +
                              std::to_string(out.masses.size()));
  out.cutoff = reader.positive("cutoff", reader.get("cutoff", Json::Kind::number));
  if (root.find("pairs")) {
    const std::string word = reader.text("pairs");
    if (!SeenPairs::read(word, out.pairs))
      reader.fail("pairs", "expected one of " + SeenPairs::words() + ", found '" + word + "'");
  }
  out.dtype = reader.choice("dtype", "float32", "float64");
  out.device = reader.choice("device", "cpu", "cuda");
  out.torch_version = reader.text("torch_version");
  out.torch_version = out.torch_version.substr(0, out.torch_version.find('+'));
  if (const Json *hashes = root.find("sha256")) {
    const auto slash = model_path.find_last_of('/');
    const Json *hash =
        hashes->find(slash == std::string::npos ? model_path : model_path.substr(slash + 1));
    if (hash && hash->kind == Json::Kind::string) out.sha256 = hash->string;
  }
  return out;
}

// SHA-256, FIPS 180-4

namespace {

class Sha256 {
 public:
  void update(const unsigned char *data, std::size_t n)
  {
    total_ += n;
    while (n > 0) {
      const std::size_t take = std::min(n, block_.size() - used_);
      std::memcpy(block_.data() + used_, data, take);
      used_ += take;
      data += take;
      n -= take;
      if (used_ == block_.size()) {
        compress();
        used_ = 0;
      }
    }
  }

  std::string hexadecimal()
  {
    const std::uint64_t bits = 8 * total_;
    const unsigned char one = 0x80, zero = 0;
    update(&one, 1);
    while (used_ != 56) update(&zero, 1);
    unsigned char length[8];
    for (int k = 0; k < 8; ++k) length[k] = static_cast<unsigned char>(bits >> (56 - 8 * k));
    update(length, 8);
    std::string out;
    for (const std::uint32_t word : state_) {
      char digits[9];
      std::snprintf(digits, sizeof digits, "%08x", word);
      out += digits;
    }
    return out;
  }

 private:
  std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> block_{};
  std::size_t used_ = 0;
  std::uint64_t total_ = 0;

  static std::uint32_t rotate(std::uint32_t x, int n) { return (x >> n) | (x << (32 - n)); }

  // first 32 bits of the fractional parts of the cube roots of the first 64 primes
  static const std::array<std::uint32_t, 64> &constants()
  {
    static const std::array<std::uint32_t, 64> table = [] {
      std::array<std::uint32_t, 64> k{};
      int found = 0;
      for (int p = 2; found < 64; ++p) {
        bool prime = true;
        for (int d = 2; d * d <= p && prime; ++d) prime = p % d != 0;
        if (!prime) continue;
        const long double root = std::cbrt(static_cast<long double>(p));
        k[static_cast<std::size_t>(found++)] =
            static_cast<std::uint32_t>((root - std::floor(root)) * 4294967296.0L);
      }
      return k;
    }();
    return table;
  }

  void compress()
  {
    const auto &k = constants();
    std::uint32_t w[64];
    for (int t = 0; t < 16; ++t) {
      const unsigned char *b = &block_[static_cast<std::size_t>(4 * t)];
      w[t] = static_cast<std::uint32_t>(b[0]) << 24 | static_cast<std::uint32_t>(b[1]) << 16 |
          static_cast<std::uint32_t>(b[2]) << 8 | b[3];
    }
    for (int t = 16; t < 64; ++t) {
      const std::uint32_t s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ (w[t - 15] >> 3);
      const std::uint32_t s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ (w[t - 2] >> 10);
      w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    auto v = state_;
    for (int t = 0; t < 64; ++t) {
      const std::uint32_t s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25);
      const std::uint32_t choose = (v[4] & v[5]) ^ (~v[4] & v[6]);
      const std::uint32_t t1 = v[7] + s1 + choose + k[static_cast<std::size_t>(t)] + w[t];
      const std::uint32_t s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22);
      const std::uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
      for (std::size_t i = 7; i > 0; --i) v[i] = v[i - 1];
      v[4] += t1;
      v[0] = t1 + s0 + majority;
    }
    for (std::size_t i = 0; i < 8; ++i) state_[i] += v[i];
  }
};

}    // namespace

std::string file_sha256(const std::string &path)
{
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  Sha256 sha;
  std::vector<char> buffer(1 << 20);
  while (in) {
    in.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    sha.update(reinterpret_cast<const unsigned char *>(buffer.data()),
               static_cast<std::size_t>(in.gcount()));
  }
  return sha.hexadecimal();
}

}    // namespace cgpot
