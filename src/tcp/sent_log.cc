#include "tcp/sent_log.h"

namespace ferry::tcp {

void SentLog::append(SeqNum start, SeqNum end, Instant now, uint32_t delivered) {
  SentRun run;
  run.start = start;
  run.end = end;
  run.sent = now;
  run.delivered = delivered;
  bool ok = runs_.push_back(run);
  FERRY_ASSERT(ok);
}

// First run that ends after `at`.
uint32_t SentLog::find(SeqNum at) const {
  uint32_t low = 0, high = runs_.size();
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (runs_[middle].end <= at) low = middle + 1;
    else high = middle;
  }
  return low;
}

void SentLog::count(const SentRun& run, Delivered& out) {
  if (run.lost) lost_bytes_ -= run.length();
  out.bytes += run.length();
  if (!out.any || run.sent > out.newest || (run.sent == out.newest && run.end > out.newest_end)) {
    out.newest = run.sent;
    out.newest_end = run.end;
    out.newest_retransmitted = run.retransmitted;
    out.newest_delivered = run.delivered;
  }
  out.any = true;
  if (run.retransmitted) return;
  out.rtt_from = earlier(out.rtt_from, run.sent);
  if (sacked_bytes_ > 0 && run.end < highest_sacked_) out.filled_hole = true;
}

void SentLog::acknowledge(SeqNum una, Delivered& out) {
  uint32_t gone = 0;
  while (gone < runs_.size() && runs_[gone].end <= una) {
    SentRun& run = runs_[gone++];
    if (run.sacked) sacked_bytes_ -= run.length();
    else count(run, out);
  }
  lost_hint_ = lost_hint_ > gone ? lost_hint_ - gone : 0;
  if (gone > 0) runs_.pop_front(gone);
  if (runs_.empty() || runs_[0].start >= una) return;
  // The first run is acknowledged in part.
  SentRun head = runs_[0];
  head.end = una;
  if (head.sacked) sacked_bytes_ -= head.length();
  else count(head, out);
  runs_[0].start = una;
}

void SentLog::sack(SeqNum left, SeqNum right, Delivered& out) {
  for (uint32_t i = find(left); i < runs_.size() && runs_[i].start < right; ++i) {
    if (runs_[i].sacked) continue;
    if (runs_[i].start < left) {
      if (!split(i, static_cast<uint32_t>(left - runs_[i].start))) continue;
      ++i;
    }
    if (runs_[i].end > right && !split(i, static_cast<uint32_t>(right - runs_[i].start))) continue;
    SentRun& run = runs_[i];
    count(run, out);
    run.sacked = true;
    run.lost = false;
    if (sacked_bytes_ == 0 || run.end > highest_sacked_) highest_sacked_ = run.end;
    sacked_bytes_ += run.length();
  }
}

void SentLog::mark_lost(uint32_t i) {
  SentRun& run = runs_[i];
  if (run.lost || run.sacked) return;
  run.lost = true;
  lost_bytes_ += run.length();
  if (i < lost_hint_) lost_hint_ = i;
}

void SentLog::mark_sent_again(uint32_t i, Instant now, uint32_t delivered) {
  SentRun& run = runs_[i];
  if (run.lost) lost_bytes_ -= run.length();
  run.lost = false;
  run.retransmitted = true;
  run.sent = now;
  run.delivered = delivered;
}

bool SentLog::split(uint32_t i, uint32_t length) {
  FERRY_ASSERT(length > 0 && length < runs_[i].length());
  SentRun rest = runs_[i];
  rest.start = rest.start + length;
  if (!runs_.insert(i + 1, rest)) return false;
  runs_[i].end = rest.start;
  if (i < lost_hint_) ++lost_hint_;
  return true;
}

uint32_t SentLog::first_lost() {
  if (lost_bytes_ == 0) return runs_.size();
  while (lost_hint_ < runs_.size() && !runs_[lost_hint_].lost) ++lost_hint_;
  return lost_hint_;
}

void SentLog::mark_all_lost() {
  for (uint32_t i = 0; i < runs_.size(); ++i) mark_lost(i);
}

void SentLog::forget_losses() {
  for (uint32_t i = 0; i < runs_.size(); ++i) runs_[i].lost = false;
  lost_bytes_ = 0;
  lost_hint_ = 0;
}

void SentLog::forget_sacks() {
  for (uint32_t i = 0; i < runs_.size(); ++i) runs_[i].sacked = false;
  sacked_bytes_ = 0;
}

void SentLog::clear() {
  runs_.clear();
  sacked_bytes_ = lost_bytes_ = lost_hint_ = 0;
}

}  // namespace ferry::tcp
