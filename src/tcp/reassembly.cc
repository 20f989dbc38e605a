#include "tcp/reassembly.h"

namespace ferry::tcp {

bool Reassembly::next_gap(SeqNum from, SeqNum to, Gap& gap) const {
  // First run that ends after `from`. Arrivals are mostly beyond everything held: look there first.
  uint32_t low = 0, high = runs_.size();
  if (high > 0 && runs_.back().end() <= from) low = high;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (runs_[middle].end() <= from) low = middle + 1;
    else high = middle;
  }
  while (low < runs_.size() && runs_[low].start <= from) from = runs_[low++].end();
  if (from >= to) return false;
  gap.start = from;
  gap.end = low < runs_.size() && runs_[low].start < to ? runs_[low].start : to;
  gap.index = low;
  return true;
}

void Reassembly::insert(const Gap& gap, const buf::IoDesc& data) {
  bytes_ += data.length;
  bool ok = runs_.insert(gap.index, Run{gap.start, 0, data});
  FERRY_ASSERT(ok);
}

bool Reassembly::take(SeqNum next, buf::IoDesc& data) {
  if (runs_.empty() || runs_[0].start != next) return false;
  return take_any(data);
}

bool Reassembly::take_any(buf::IoDesc& data) {
  if (runs_.empty()) return false;
  data = runs_[0].data;
  bytes_ -= data.length;
  runs_.pop_front(1);
  return true;
}

}  // namespace ferry::tcp
