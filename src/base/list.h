// Intrusive doubly linked list: the element derives from ListNode<Tag> and is in at most one list per tag.
// The list owns nothing. Every operation is O(1) but for size-free iteration.
#pragma once

#include "port/api/assert.h"

namespace ferry {

template <typename Tag>
class ListNode {
 public:
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  bool linked() const { return next_ != nullptr; }

 private:
  template <typename, typename>
  friend class List;
  ListNode* prev_ = nullptr;
  ListNode* next_ = nullptr;
};

template <typename T, typename Tag = T>
class List {
  using Node = ListNode<Tag>;

 public:
  List() { head_.prev_ = head_.next_ = &head_; }
  List(const List&) = delete;
  List& operator=(const List&) = delete;

  bool empty() const { return head_.next_ == &head_; }
  T* front() { return empty() ? nullptr : to_element(head_.next_); }
  const T* front() const { return const_cast<List*>(this)->front(); }
  T* back() { return empty() ? nullptr : to_element(head_.prev_); }
  // The element after `element`, or nullptr at the end.
  T* next(T& element) {
    Node* n = static_cast<Node&>(element).next_;
    return n == &head_ ? nullptr : to_element(n);
  }
  const T* next(const T& element) const { return const_cast<List*>(this)->next(const_cast<T&>(element)); }
  T* prev(T& element) {
    Node* n = static_cast<Node&>(element).prev_;
    return n == &head_ ? nullptr : to_element(n);
  }
  void push_back(T& element) { link_before(head_, element); }
  void push_front(T& element) { link_before(*head_.next_, element); }
  void insert_before(T& position, T& element) { link_before(static_cast<Node&>(position), element); }
  void erase(T& element) {
    Node& n = element;
    FERRY_ASSERT(n.linked());
    n.prev_->next_ = n.next_;
    n.next_->prev_ = n.prev_;
    n.prev_ = n.next_ = nullptr;
  }
  T* pop_front() {
    T* element = front();
    if (element != nullptr) erase(*element);
    return element;
  }

 private:
  static T* to_element(Node* n) { return static_cast<T*>(n); }
  static void link_before(Node& position, T& element) {
    Node& n = element;
    FERRY_ASSERT(!n.linked());
    n.prev_ = position.prev_;
    n.next_ = &position;
    position.prev_->next_ = &n;
    position.prev_ = &n;
  }
  Node head_;
};

}  // namespace ferry
