#include "link/capture_filter.h"

#include <pcap/pcap.h>

#include <utility>

namespace ferry::link {
namespace {
constexpr int kSnaplen = 262144;
}

struct CaptureFilter::Program {
  bpf_program code{};
  Program() = default;
  ~Program() { pcap_freecode(&code); }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
};

CaptureFilter::CaptureFilter() = default;
CaptureFilter::~CaptureFilter() = default;
CaptureFilter::CaptureFilter(CaptureFilter&&) noexcept = default;
CaptureFilter& CaptureFilter::operator=(CaptureFilter&&) noexcept = default;

Outcome<CaptureFilter> CaptureFilter::compile(const std::string& expression) {
  if (expression.empty()) return CaptureFilter();
  pcap_t* compiler = pcap_open_dead(DLT_EN10MB, kSnaplen);
  if (compiler == nullptr) return Outcome<CaptureFilter>::failure("no memory for a capture filter");
  CaptureFilter filter;
  filter.program_ = std::make_unique<Program>();
  const int result = pcap_compile(compiler, &filter.program_->code, expression.c_str(), 1, PCAP_NETMASK_UNKNOWN);
  const std::string words = result == 0 ? "" : pcap_geterr(compiler);
  pcap_close(compiler);
  if (result != 0) return Outcome<CaptureFilter>::failure("the filter \"" + expression + "\" does not compile: " + words);
  return filter;
}

bool CaptureFilter::matches(ByteSpan head, uint32_t frame_length) const {
  if (program_ == nullptr) return true;
  return bpf_filter(program_->code.bf_insns, reinterpret_cast<const u_char*>(head.data()), frame_length,
                    static_cast<u_int>(head.size())) != 0;
}

}  // namespace ferry::link
