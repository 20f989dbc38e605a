// The event queue of a thread that polls several Ferry sockets. It is closed when the thread ends, and never destroyed: a socket keeps a
// pointer to it if the thread left poll by siglongjmp, and in a child those to queues of its parent's threads until it is used there.
#pragma once

#include "client/event_queue.h"

namespace ferry::preload {

// That of this thread.
client::EventQueue& thread_queue();

}  // namespace ferry::preload
