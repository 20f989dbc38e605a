#include "tcp/time_wait.h"

#include "tcp/limits.h"

namespace ferry::tcp {
namespace {
constexpr Duration kAnswerInterval = Duration::ms(500);  // RFC 5961 section 7
}  // namespace

TimeWait::Verdict TimeWait::on_segment(Instant now, const InputSegment& segment, OutputSegment& answer) {
  bool has_ts = timestamps && segment.options.has_timestamps;
  bool ts_older = has_ts && static_cast<int32_t>(segment.options.ts_value - ts_recent) < 0 &&
                  now - ts_recent_at <= kTimestampsOutdated;
  bool syn_only = (segment.flags & (kSyn | kAck | kRst)) == kSyn;
  if (syn_only) {
    bool ts_newer = has_ts && static_cast<int32_t>(segment.options.ts_value - ts_recent) > 0;
    if (ts_newer || (segment.seq >= rcv_nxt && !ts_older)) return Verdict::reopen;
  }
  uint32_t length = static_cast<uint32_t>(segment.payload.size()) + ((segment.flags & kFin) != 0) +
                    ((segment.flags & kSyn) != 0);
  SeqNum end = segment.seq + length;
  bool acceptable = !ts_older && end >= rcv_nxt && segment.seq <= rcv_nxt + rcv_wnd;
  if ((segment.flags & kRst) != 0) {
    // RFC 1337 would ignore it; only the exact sequence number is believed (RFC 5961 section 3).
    return !ts_older && segment.seq == rcv_nxt ? Verdict::closed : Verdict::drop;
  }
  if (acceptable && length == 0) return Verdict::drop;  // a late acknowledgement
  if (!ts_older && (segment.flags & kFin) != 0 && end == rcv_nxt) {  // the FIN again: our ACK was lost
    expires = now + kDuration;
    fill_ack(now, answer);
    return Verdict::answer;
  }
  if (now - last_answer < kAnswerInterval) return Verdict::drop;
  last_answer = now;
  fill_ack(now, answer);
  return Verdict::answer;
}

void TimeWait::fill_ack(Instant now, OutputSegment& answer) const {
  answer.seq = snd_nxt;
  answer.ack = rcv_nxt;
  answer.flags = kAck;
  answer.window = window_field;
  if (!timestamps) return;
  answer.options.has_timestamps = true;
  answer.options.ts_value = timestamp_value(now, timestamp_offset);
  answer.options.ts_echo = ts_recent;
}

}  // namespace ferry::tcp
