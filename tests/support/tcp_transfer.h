// A bidirectional transfer between two endpoints over a bad path, with owners that write and read in odd amounts, close in turn
// and may be rebuilt from their records on the way. Shared by unit tests (bad_path_test.cc) and anything else that wants traffic.
#pragma once

#include "support/tcp_path.h"

namespace ferry::tcp::testing {

struct TransferConfig {
  PathConfig path;
  Setup client, server;
  size_t client_bytes = 100'000, server_bytes = 100'000;
  bool eager_reader = false;         // reads everything at once
  bool lazy_reader = false;          // reads seldom: windows close
  uint32_t rebuild_permille = 0;     // per step: one side is destroyed and restored from its record
  uint32_t place_refusal_permille = 0;
  uint64_t place_limit = UINT64_MAX; // bytes that an owner has room for, whatever window is announced
  uint64_t place_piece = UINT64_MAX; // bytes that it takes in one piece
  Duration limit = Duration::seconds(3000);
};

struct TransferResult {
  std::string error;                 // empty: everything arrived and both sides closed as they should
  Duration took;
  uint64_t packets = 0, lost = 0;
  uint32_t retransmissions = 0, rebuilt = 0;
};

TransferResult transfer(const TransferConfig& config);

// Reproducible bytes.
std::string random_bytes(uint64_t seed, size_t n);

}  // namespace ferry::tcp::testing
