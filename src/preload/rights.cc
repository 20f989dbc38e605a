// Owns the passing of Ferry sockets over AF_UNIX (rights.h). The receiver with libferry attaches to K; one that cannot uses K itself.
#include "preload/rights.h"

#include <string.h>

#include "client/guarded_copy.h"
#include "preload/control_messages.h"
#include "preload/fd_table.h"
#include "preload/handover.h"
#include "preload/inherited.h"
#include "preload/rights_receiver.h"
#include "preload/socket_file.h"

namespace ferry::preload {
namespace {

// What is wrong with the messages is for the kernel to say.
template <typename Visit>
void for_each_right(const msghdr& message, Visit visit) {
  if (!client::is_readable(message.msg_control, message.msg_controllen)) return;
  (void)for_each_control(message, [&](const cmsghdr& header, const char* data, size_t size) {
    if (header.cmsg_level != SOL_SOCKET || header.cmsg_type != SCM_RIGHTS) return 0;
    for (size_t i = 0; i < size / sizeof(int); ++i) {
      int fd = -1;
      memcpy(&fd, data + i * sizeof(int), sizeof(fd));
      visit(fd);
    }
    return 0;
  });
}

// All others need libferry and a channel.
bool has_use_in_kernel_mode(SocketFile& file, int fd) { return !file.socket.is_listener() && file.is_connected(fd); }

}  // namespace

void before_sending_rights(int fd, const msghdr& message) {
  bool asked = false;
  Receiver receiver = Receiver::attaches;
  for_each_right(message, [&](int passed) {
    FileRef<SocketFile> file = socket_of(passed);
    if (!file) return;
    file->copied = true;
    if (!asked) receiver = receiver_behind(fd);
    asked = true;
    if (receiver == Receiver::without_ferry) {
      demote(*file, passed, "it is passed to a process without libferry");
    } else if (receiver == Receiver::out_of_reach && has_use_in_kernel_mode(*file, passed)) {
      demote(*file, passed, "it is passed to a process behind chroot");
    }
  });
}

void after_receiving_rights(msghdr& message) {
  for_each_right(message, [](int fd) {
    fd_table().forget_stale(fd);
    adopt_if_ferry(fd);
  });
}

}  // namespace ferry::preload
