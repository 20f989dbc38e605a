// Deterministic pseudo-random numbers (xoshiro256**, seeded through splitmix64; Blackman and Vigna 2018) and the keyed
// hash SipHash-2-4 (Aumasson and Bernstein 2012). Seeds and keys are arguments: the core never asks the system for entropy.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace ferry {

class Rng {
 public:
  explicit Rng(uint64_t seed);
  uint64_t next();
  // Uniform in [0, bound); bound > 0.
  uint32_t below(uint32_t bound);

 private:
  uint64_t s_[4];
};

struct SipKey {
  uint64_t k0 = 0;
  uint64_t k1 = 0;
};

// 64-bit SipHash-2-4 of `data` under `key`.
uint64_t siphash(const SipKey& key, ByteSpan data);

}  // namespace ferry
