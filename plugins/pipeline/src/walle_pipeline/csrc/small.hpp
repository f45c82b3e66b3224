// A short list of numbers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace walle_pipeline {

// A few numbers, in place while they are at most three.
class Small {
   public:
    Small() = default;
    Small(const Small& other) { *this = other; }
    Small(Small&& other) noexcept { swap(other); }
    ~Small() {
        if (room_ > 3) delete[] heap_;
    }
    Small& operator=(const Small& other) {
        if (this == &other) return *this;
        size_ = 0;
        for (uint32_t i = 0; i < other.size_; ++i) push(other.data()[i]);
        return *this;
    }
    Small& operator=(Small&& other) noexcept {
        swap(other);
        return *this;
    }
    void push(uint32_t value) {
        if (size_ == room_) grow();
        data()[size_++] = value;
    }
    bool has(uint32_t value) const { return std::find(data(), data() + size_, value) != data() + size_; }
    bool before(const Small& other) const {
        return std::lexicographical_compare(data(), data() + size_, other.data(), other.data() + other.size_);
    }
    uint32_t size() const { return size_; }
    uint32_t* data() { return room_ > 3 ? heap_ : in_; }
    const uint32_t* data() const { return room_ > 3 ? heap_ : in_; }

   private:
    void swap(Small& other) noexcept {
        uint8_t held[sizeof(Small)];
        std::memcpy(held, static_cast<void*>(this), sizeof(Small));
        std::memcpy(static_cast<void*>(this), static_cast<void*>(&other), sizeof(Small));
        std::memcpy(static_cast<void*>(&other), held, sizeof(Small));
    }
    void grow() {
        uint32_t* wider = new uint32_t[room_ * 2];
        std::copy(data(), data() + size_, wider);
        if (room_ > 3) delete[] heap_;
        heap_ = wider;
        room_ *= 2;
    }
    uint32_t size_ = 0, room_ = 3;
    union {
        uint32_t in_[3];
        uint32_t* heap_;
    };
};

}  // namespace walle_pipeline
