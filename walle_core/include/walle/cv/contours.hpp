// Border following (Suzuki and Abe, "Topological structural analysis of digitized binary images by border following",
// 1985): outer borders and holes of a binary image, with the tree in which they surround each other.
#pragma once

#include <cstdint>
#include <vector>

#include "walle/stop.hpp"

namespace walle { namespace cv { namespace {

enum Retrieval { kExternal = 0, kList = 1, kComponents = 2, kTree = 3 };

struct Border {
    bool hole;
    int parent;                   // index among the borders; 0 is the frame
    int newest;                   // child found last, or -1
    int older;                    // sibling found just before, or -1
    int64_t begin, end;           // its points in Borders::points, in pairs
};

struct Borders {
    std::vector<Border> found;    // found[0] is the frame of the picture
    std::vector<int32_t> points;  // x, y
    std::vector<int> order;       // indices of `found` as they are returned: newest first, parents before children
};

// East, north-east, ... counter-clockwise in a picture whose y points down.
constexpr int kDx[8] = {1, 1, 0, -1, -1, -1, 0, 1}, kDy[8] = {0, -1, -1, -1, 0, 1, 1, 1};

// Marks: 0 background, 1 object not visited, label >= 2 on a border, -label where the pixel to the right is background.
struct BorderScan {
    std::vector<int32_t> marks;   // the picture with one pixel of background around
    int64_t stride;
    int mode;
    bool all_points;
    int32_t offset_x, offset_y;
    int32_t label = 2;
    Borders* out;

    void follow(int64_t x, int64_t y, bool hole, int32_t mark) {
        int64_t steps[8];
        for (int d = 0; d < 8; d++) steps[d] = kDy[d] * stride + kDx[d];
        auto& points = out->points;
        int32_t px = int32_t(x - 1) + offset_x, py = int32_t(y - 1) + offset_y;
        int32_t* const start = &marks[size_t(y * stride + x)];
        const int outside = hole ? 0 : 4;
        int direction = outside;
        do direction = (direction - 1) & 7;
        while (start[steps[direction]] == 0 && direction != outside);
        if (direction == outside) {  // a single pixel
            *start = -mark;
            points.insert(points.end(), {px, py});
            return;
        }
        int32_t* const last = start + steps[direction];
        int32_t* at = start;
        int before = direction ^ 4;
        for (;;) {
            const int from = direction;
            int next = from;
            int32_t* to;
            do to = at + steps[++next & 7];
            while (*to == 0);
            next &= 7;
            if (unsigned(next - 1) < unsigned(from)) {
                *at = -mark;
            } else if (*at == 1) {
                *at = mark;
            }
            if (next != before || all_points) points.insert(points.end(), {px, py});
            before = next;
            px += kDx[next];
            py += kDy[next];
            if (to == start && at == last) return;
            at = to;
            direction = (next + 4) & 7;
        }
    }

    int parent_of(bool hole, int64_t x, int64_t y, const std::vector<int>& owners) const {
        if (mode == kExternal || mode == kList || (mode == kComponents && !hole) || x <= 0) return 0;
        const int32_t mark = marks[size_t(y * stride + x)];
        const int near = owners[size_t(mark < 0 ? -mark : mark)];
        const Border& b = out->found[size_t(near)];
        return b.hole == hole ? b.parent : near;
    }

    void run(int64_t width, int64_t height) {
        out->found.push_back({true, -1, -1, -1, 0, 0});
        const bool flat = mode == kExternal || mode == kList;
        std::vector<int> owners(2, 0);
        walle_stop_watch watch;
        for (int64_t y = 1; y <= height; y++) {
            watch.work(width);
            int64_t border = 0;  // column of the last border that was met in this row
            int32_t left = 0;
            for (int64_t x = 1; x <= width; x++) {
                const int32_t here = marks[size_t(y * stride + x)];
                if (here == left) continue;
                const bool outer = left == 0 && here == 1, hole = !outer && here == 0 && left >= 1;
                if (hole && left > 1) border = x - 1;
                const bool skip = mode == kExternal && (hole || marks[size_t(y * stride + border)] > 0);
                if ((outer || hole) && !skip) {
                    const int parent = parent_of(hole, border, y, owners);
                    border = hole ? x - 1 : x;
                    const int index = int(out->found.size());
                    const int64_t begin = int64_t(out->points.size());
                    follow(border, y, hole, label);
                    Border& up = out->found[size_t(parent)];
                    const int older = up.newest;
                    up.newest = index;
                    out->found.push_back({hole, parent, -1, older, begin, int64_t(out->points.size())});
                    if (!flat) {
                        owners.push_back(index);
                        label++;
                    }
                    left = marks[size_t(y * stride + x)];
                } else {
                    left = here;
                    if (left != 0 && left != 1) border = x;
                }
            }
        }
        std::vector<int> stack;
        if (out->found[0].newest >= 0) stack.push_back(out->found[0].newest);
        while (!stack.empty()) {
            const int i = stack.back();
            stack.pop_back();
            out->order.push_back(i);
            const Border& b = out->found[size_t(i)];
            if (b.older >= 0) stack.push_back(b.older);
            if (b.newest >= 0) stack.push_back(b.newest);
        }
    }
};

inline void find_borders(const uint8_t* image, int64_t width, int64_t height, int mode, bool all_points, int32_t dx,
                         int32_t dy, Borders* out) {
    BorderScan scan;
    scan.stride = width + 2;
    scan.marks.assign(size_t((width + 2) * (height + 2)), 0);
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++)
            scan.marks[size_t((y + 1) * scan.stride + x + 1)] = image[y * width + x] != 0;
    scan.mode = mode;
    scan.all_points = all_points;
    scan.offset_x = dx;
    scan.offset_y = dy;
    scan.out = out;
    scan.run(width, height);
}

// next, previous, first child, parent of every border, in the order in which they are returned; -1 where there is none.
inline void hierarchy(const Borders& b, int32_t* out) {
    std::vector<int32_t> place(b.found.size(), -1);
    for (size_t i = 0; i < b.order.size(); i++) place[size_t(b.order[i])] = int32_t(i);
    auto placed = [&](int i) { return i < 0 ? -1 : place[size_t(i)]; };
    for (size_t i = 0; i < b.order.size(); i++) {
        const Border& border = b.found[size_t(b.order[i])];
        out[4 * i] = placed(border.older);
        out[4 * i + 1] = -1;
        out[4 * i + 2] = placed(border.newest);
        out[4 * i + 3] = border.parent > 0 ? placed(border.parent) : -1;
    }
    for (size_t i = 0; i < b.order.size(); i++)
        if (out[4 * i] >= 0) out[4 * out[4 * i] + 1] = int32_t(i);
}

}}}  // namespace walle::cv
