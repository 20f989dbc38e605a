// Data that arrived before its turn, placed in the owner's memory, in sequence order and without overlap (RFC 9293 section
// 3.10.7.4, "segments with higher beginning sequence numbers SHOULD be held").
//
// Owns: the descriptors until they are handed out. Does not own: the memory (the host's place/discard), the window, SACK blocks.
// One element per placed descriptor: the host gets each back as it made it, so neighbours are not merged.
// Bounded: bytes by the receive window (the caller trims), elements by kMaxRuns.
#pragma once

#include <cstdint>

#include "buf/io_desc.h"
#include "tcp/run_array.h"
#include "tcp/segment.h"

namespace ferry::tcp {

class Reassembly {
 public:
  static constexpr uint32_t kMaxRuns = 8192;
  struct Run {
    SeqNum start;
    uint32_t reserved = 0;
    buf::IoDesc data;
    SeqNum end() const { return start + data.length; }
  };
  // A part of [start, end) that nothing covers yet.
  struct Gap {
    SeqNum start, end;
    uint32_t index = 0;  // where insert() puts it
  };

  bool empty() const { return runs_.empty(); }
  uint32_t size() const { return runs_.size(); }
  uint32_t bytes() const { return bytes_; }
  const Run& run(uint32_t i) const { return runs_[i]; }

  // The first gap at or after `from` and before `to`; false when all of it is covered.
  bool next_gap(SeqNum from, SeqNum to, Gap& gap) const;
  [[nodiscard]] bool reserve() { return runs_.reserve_one(); }
  // Fills (the beginning of) a gap just returned by next_gap; reserve() has succeeded.
  void insert(const Gap& gap, const buf::IoDesc& data);
  // The first run, if it begins at `next`, leaves.
  bool take(SeqNum next, buf::IoDesc& data);
  // The first run leaves, wherever it begins. False when empty.
  bool take_any(buf::IoDesc& data);

 private:
  RunArray<Run, 1, kMaxRuns> runs_;
  uint32_t bytes_ = 0;
};

}  // namespace ferry::tcp
