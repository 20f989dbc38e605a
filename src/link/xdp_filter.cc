#include "link/xdp_filter.h"

#include <linux/bpf.h>
#include <linux/if_link.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "wire/ethernet.h"

namespace ferry::link {
namespace {

long bpf(int command, bpf_attr& attributes) { return ::syscall(SYS_bpf, command, &attributes, sizeof attributes); }

uint64_t address_of(const void* p) { return reinterpret_cast<uint64_t>(p); }

// Builds a program; jumps name labels that are set later.
class Assembler {
 public:
  enum Label { kPass, kArp, kRedirect, kLabels };

  void load(uint8_t size, uint8_t to, uint8_t from, int16_t offset) { add(BPF_LDX | BPF_MEM | size, to, from, offset, 0); }
  void move(uint8_t to, uint8_t from) { add(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0); }
  void set(uint8_t to, int32_t value) { add(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value); }
  void add_constant(uint8_t to, int32_t value) { add(BPF_ALU64 | BPF_ADD | BPF_K, to, 0, 0, value); }
  void jump_if_above(uint8_t a, uint8_t b, Label label) { jump(BPF_JMP | BPF_JGT | BPF_X, a, b, 0, label); }
  void jump_if(uint8_t a, uint32_t value, Label label) { jump(BPF_JMP32 | BPF_JEQ | BPF_K, a, 0, value, label); }
  void jump_unless(uint8_t a, uint32_t value, Label label) { jump(BPF_JMP32 | BPF_JNE | BPF_K, a, 0, value, label); }
  void load_map(uint8_t to, int map) {
    add(BPF_LD | BPF_DW | BPF_IMM, to, BPF_PSEUDO_MAP_FD, 0, map);
    add(0, 0, 0, 0, 0);
  }
  void call(int32_t helper) { add(BPF_JMP | BPF_CALL, 0, 0, 0, helper); }
  void exit() { add(BPF_JMP | BPF_EXIT, 0, 0, 0, 0); }
  void here(Label label) { at_[label] = program_.size(); }

  const std::vector<bpf_insn>& finish() {
    for (const auto& [index, label] : jumps_) program_[index].off = static_cast<int16_t>(at_[label] - index - 1);
    return program_;
  }

 private:
  void add(int code, uint8_t to, uint8_t from, int16_t offset, int32_t value) {
    program_.push_back({static_cast<uint8_t>(code), static_cast<uint8_t>(to & 15), static_cast<uint8_t>(from & 15), offset, value});
  }
  void jump(int code, uint8_t a, uint8_t b, uint32_t value, Label label) {
    jumps_.emplace_back(program_.size(), label);
    add(code, a, b, 0, static_cast<int32_t>(value));
  }
  std::vector<bpf_insn> program_;
  std::vector<std::pair<size_t, Label>> jumps_;
  size_t at_[kLabels] = {};
};

// What a load of these bytes from a frame gives.
template <typename Word>
uint32_t as_loaded(const uint8_t* bytes) {
  Word w;
  std::memcpy(&w, bytes, sizeof w);
  return w;
}

// r1: the context. The frame goes to the socket of its queue, or to the kernel if there is none.
void redirect(Assembler& p, int map) {
  p.load(BPF_W, BPF_REG_2, BPF_REG_1, offsetof(xdp_md, rx_queue_index));
  p.load_map(BPF_REG_1, map);
  p.set(BPF_REG_3, XDP_PASS);
  p.call(BPF_FUNC_redirect_map);
  p.exit();
}

std::vector<bpf_insn> assemble(const XdpFilter::Rules& rules, int map) {
  constexpr uint8_t kContext = BPF_REG_1, kData = BPF_REG_2, kEnd = BPF_REG_3, kWord = BPF_REG_4;
  constexpr int32_t kArpBytes = 42, kArpTargetOffset = 38;
  const uint8_t* mac = rules.mac.octets.data();
  const uint8_t arp[2] = {0x08, 0x06};
  const uint32_t a = rules.address.value;
  const uint8_t address[4] = {uint8_t(a >> 24), uint8_t(a >> 16), uint8_t(a >> 8), uint8_t(a)};
  Assembler p;
  if (rules.all_frames) {
    redirect(p, map);
    return p.finish();
  }
  p.load(BPF_W, kData, kContext, offsetof(xdp_md, data));
  p.load(BPF_W, kEnd, kContext, offsetof(xdp_md, data_end));
  p.move(kWord, kData);
  p.add_constant(kWord, wire::kEthernetHeaderBytes);
  p.jump_if_above(kWord, kEnd, Assembler::kPass);
  p.load(BPF_W, kWord, kData, 0);
  p.jump_unless(kWord, as_loaded<uint32_t>(mac), Assembler::kArp);
  p.load(BPF_H, kWord, kData, 4);
  p.jump_if(kWord, as_loaded<uint16_t>(mac + 4), Assembler::kRedirect);
  p.here(Assembler::kArp);
  p.load(BPF_H, kWord, kData, 12);
  p.jump_unless(kWord, as_loaded<uint16_t>(arp), Assembler::kPass);
  p.move(kWord, kData);
  p.add_constant(kWord, kArpBytes);
  p.jump_if_above(kWord, kEnd, Assembler::kPass);
  p.load(BPF_W, kWord, kData, kArpTargetOffset);
  p.jump_unless(kWord, as_loaded<uint32_t>(address), Assembler::kPass);
  p.here(Assembler::kRedirect);
  redirect(p, map);
  p.here(Assembler::kPass);
  p.set(BPF_REG_0, XDP_PASS);
  p.exit();
  return p.finish();
}

}  // namespace

std::string explain_xdp(const std::string& what) {
  if (errno == EPERM || errno == EACCES)
    return "no permission to " + what + ": ferryd needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF at start (run it as root)";
  return "cannot " + what + ": " + std::strerror(errno);
}

Outcome<XdpFilter> XdpFilter::load(const Rules& rules, uint32_t queues) {
  bpf_attr a;
  std::memset(&a, 0, sizeof a);
  a.map_type = BPF_MAP_TYPE_XSKMAP;
  a.key_size = a.value_size = sizeof(uint32_t);
  a.max_entries = queues;
  Fd map(static_cast<int>(bpf(BPF_MAP_CREATE, a)));
  if (!map.ok()) return Outcome<XdpFilter>::failure(explain_xdp("make a table of AF_XDP sockets"));
  const std::vector<bpf_insn> instructions = assemble(rules, map.get());
  static const char kLicense[] = "Dual BSD/GPL";
  std::memset(&a, 0, sizeof a);
  a.prog_type = BPF_PROG_TYPE_XDP;
  a.insns = address_of(instructions.data());
  a.insn_cnt = static_cast<uint32_t>(instructions.size());
  a.license = address_of(kLicense);
  a.prog_flags = rules.large_frames ? BPF_F_XDP_HAS_FRAGS : 0;
  a.expected_attach_type = BPF_XDP;
  std::memcpy(a.prog_name, "ferry", 6);
  Fd program(static_cast<int>(bpf(BPF_PROG_LOAD, a)));
  if (!program.ok()) return Outcome<XdpFilter>::failure(explain_xdp("load an XDP program"));
  return XdpFilter(std::move(map), std::move(program));
}

bool XdpFilter::serve(uint32_t queue, int socket) {
  bpf_attr a;
  std::memset(&a, 0, sizeof a);
  a.map_fd = static_cast<uint32_t>(map_.get());
  a.key = address_of(&queue);
  a.value = address_of(&socket);
  return bpf(BPF_MAP_UPDATE_ELEM, a) == 0;
}

std::string XdpFilter::attach(const Interface& interface) {
  bpf_attr a;
  for (const uint32_t mode : {XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE}) {
    std::memset(&a, 0, sizeof a);
    a.link_create.prog_fd = static_cast<uint32_t>(program_.get());
    a.link_create.target_ifindex = static_cast<uint32_t>(interface.index);
    a.link_create.attach_type = BPF_XDP;
    a.link_create.flags = mode;
    link_ = Fd(static_cast<int>(bpf(BPF_LINK_CREATE, a)));
    in_driver_ = mode == XDP_FLAGS_DRV_MODE;
    if (link_.ok()) return {};
    if (errno == EBUSY) return "another XDP program is on interface " + interface.name + ", or another ferryd serves it";
    if (errno == ERANGE) break;
  }
  if (errno == ERANGE) {
    return "an MTU of " + std::to_string(interface.mtu) + " bytes on " + interface.name + " is too large for XDP there; make it smaller, or serve it as packet:" + interface.name;
  }
  return explain_xdp("attach an XDP program to " + interface.name);
}

}  // namespace ferry::link
