// What a capture file holds, all at once.
#pragma once

#include <string>
#include <vector>

#include "link/pcapng.h"
#include "unit/link/frames.h"

namespace ferry::link::testing {

struct KeptFrame : CapturedFrame {
  explicit KeptFrame(const CapturedFrame& f) : CapturedFrame(f), bytes(f.bytes.begin(), f.bytes.end()) {}
  Bytes bytes;
};

// The frames before the first thing that is wrong, which `error` tells; none if the file cannot be read.
inline std::vector<KeptFrame> read_capture(const std::string& path, std::string* error = nullptr) {
  std::vector<KeptFrame> all;
  auto r = PcapngReader::open(path);
  if (!r.ok()) return all;
  for (CapturedFrame f; (*r)->next(f);) all.emplace_back(f);
  if (error != nullptr) *error = (*r)->error();
  return all;
}

}  // namespace ferry::link::testing
