// Measures of polygons and curves: area, length, moments, distance of a point, approximation with fewer corners.
#pragma once

#include <cfloat>

#include "walle/cv/hull.hpp"

namespace walle { namespace cv { namespace {

template <class T> double signed_area(const P2<T>* p, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) {
        const P2<T>&a = p[(i + n - 1) % n], &b = p[i];
        sum += double(float(a.x)) * float(b.y) - double(float(a.y)) * float(b.x);
    }
    return sum / 2;
}

template <class T> double curve_length(const P2<T>* p, int n, bool closed) {
    double sum = 0;
    for (int i = closed ? 0 : 1; i < n && n > 1; i++) {
        const P2<T>&a = p[(i + n - 1) % n], &b = p[i];
        const float dx = float(b.x) - float(a.x), dy = float(b.y) - float(a.y);
        sum += std::sqrt(dx * dx + dy * dy);
    }
    return sum;
}

// Ramer, Douglas and Peucker, from two corners that are far apart; then corners on nearly straight lines are removed.
template <class T> std::vector<P2<T>> simplified(const P2<T>* p, int n, double epsilon, bool closed) {
    struct Slice {
        int from, until;
    };
    std::vector<Slice> todo;
    std::vector<P2<T>> kept;
    const double eps = epsilon * epsilon;
    bool ring = closed;
    int searches = 3;
    if (!closed) {
        if (!(p[0] == p[n - 1])) {
            todo.push_back({0, n - 1});
        } else {
            ring = true;
            searches = 1;
        }
    }
    if (ring) {
        int from = 0, far = 0;
        bool small = false;
        for (int i = 0; i < searches; i++) {
            from = (from + far) % n;
            double most = 0;
            for (int j = 1; j < n; j++) {
                const P2<T>& q = p[(from + j) % n];
                const double dx = q.x - p[from].x, dy = q.y - p[from].y, d = dx * dx + dy * dy;
                if (d > most) {
                    most = d;
                    far = j;
                }
            }
            small = most <= eps;
        }
        const int middle = (from + far) % n;
        if (small) {
            kept.push_back(p[from]);
        } else {
            todo.push_back({middle, from});
            todo.push_back({from, middle});
        }
    }
    walle_stop_watch watch;
    while (!todo.empty()) {
        const Slice s = todo.back();
        todo.pop_back();
        const P2<T>&a = p[s.from], &b = p[s.until];
        int split = -1;
        double most = 0;
        const double dx = b.x - a.x, dy = b.y - a.y, length2 = dx * dx + dy * dy;
        for (int i = (s.from + 1) % n; i != s.until; i = (i + 1) % n) {
            watch.work(1);
            const T ax = p[i].x - a.x, ay = p[i].y - a.y, bx = p[i].x - b.x, by = p[i].y - b.y;
            const double along = ax * dx + ay * dy;
            double d;
            if (along < 0) {
                d = (ax * ax + ay * ay) * length2;
            } else if (along > length2) {
                d = (bx * bx + by * by) * length2;
            } else {
                d = ay * dx - ax * dy;
                d *= d;
            }
            if (d > most) {
                most = d;
                split = i;
            }
        }
        if (split < 0 || most <= eps * length2) {
            kept.push_back(a);
        } else {
            todo.push_back({split, s.until});
            todo.push_back({s.from, split});
        }
    }
    if (!ring) kept.push_back(p[n - 1]);
    // the last stage, in place: `write` follows `read`
    const int count = int(kept.size());
    int left = count, read = closed ? count - 1 : 0;
    auto take = [&] {
        const P2<T> q = kept[size_t(read)];
        read = (read + 1) % count;
        return q;
    };
    P2<T> start = take();
    int write = read;
    P2<T> here = take();
    for (int i = !closed; i < count - !closed && left > 2; i++) {
        const P2<T> end = take();
        const double dx = end.x - start.x, dy = end.y - start.y;
        const double off = std::fabs((here.x - start.x) * dy - (here.y - start.y) * dx);
        const double turn = double((here.x - start.x) * (end.x - here.x) + (here.y - start.y) * (end.y - here.y));
        const bool drop = off * off <= 0.5 * eps * (dx * dx + dy * dy) && dx != 0 && dy != 0 && turn >= 0;
        kept[size_t(write)] = start = drop ? end : here;
        write = (write + 1) % count;
        if (drop) {
            left--;
            i++;
            here = take();
        } else {
            here = end;
        }
    }
    if (!closed) kept[size_t(write)] = here;
    kept.resize(size_t(left));
    return kept;
}

// Positive inside, negative outside, zero on the edge; the distance to it if `measure`, else 1 or -1.
// Differences of floats are rounded to floats.
template <class T> double point_in_polygon(const P2<T>* p, int n, double x, double y, bool measure) {
    using Part = typename std::conditional<std::is_integral<T>::value, double, float>::type;
    auto minus = [](double a, double b) { return double(Part(a - b)); };
    if (n == 0) return measure ? -DBL_MAX : -1;
    double best = FLT_MAX, scale = 1;
    int crossings = 0;
    for (int i = 0; i < n; i++) {
        const double ax = p[(i + n - 1) % n].x, ay = p[(i + n - 1) % n].y, bx = p[i].x, by = p[i].y;
        const double dx = minus(bx, ax), dy = minus(by, ay), x1 = minus(x, ax), y1 = minus(y, ay);
        const double x2 = minus(x, bx), y2 = minus(y, by);
        const double cross = y1 * dx - x1 * dy;
        if (measure) {
            double d, of = 1;
            if (x1 * dx + y1 * dy <= 0) {
                d = x1 * x1 + y1 * y1;
            } else if (x2 * dx + y2 * dy >= 0) {
                d = x2 * x2 + y2 * y2;
            } else {
                d = cross * cross;
                of = dx * dx + dy * dy;
            }
            if (d * scale < best * of) {
                best = d;
                scale = of;
                if (best == 0) break;
            }
        }
        if ((ay <= y && by <= y) || (ay > y && by > y) || (ax < x && bx < x)) {
            const bool level = y == ay && ((ax <= x && x <= bx) || (bx <= x && x <= ax));
            if (!measure && y == by && (x == bx || level)) return 0;
            continue;
        }
        if (!measure && cross == 0) return 0;
        crossings += (dy < 0 ? -cross : cross) > 0;
    }
    const double d = measure ? std::sqrt(best / scale) : 1;
    return crossings % 2 ? d : -d;
}

// m00 m10 m01 m20 m11 m02 m30 m21 m12 m03 of a polygon by Green's theorem.
template <class T> void polygon_moments(const P2<T>* p, int n, double* m) {
    double a[10] = {};
    for (int i = 0; i < n; i++) {
        const double x = p[(i + n - 1) % n].x, y = p[(i + n - 1) % n].y, X = p[i].x, Y = p[i].y;
        const double c = x * Y - X * y, sx = x + X, sy = y + Y;
        a[0] += c;
        a[1] += c * sx;
        a[2] += c * sy;
        a[3] += c * (x * sx + X * X);
        a[4] += c * (x * (sy + y) + X * (sy + Y));
        a[5] += c * (y * sy + Y * Y);
        a[6] += c * sx * (x * x + X * X);
        a[7] += c * (x * x * (3 * y + Y) + 2 * X * x * sy + X * X * (y + 3 * Y));
        a[8] += c * (y * y * (3 * x + X) + 2 * Y * y * sx + Y * Y * (x + 3 * X));
        a[9] += c * sy * (y * y + Y * Y);
    }
    const double by[10] = {2, 6, 6, 12, 24, 12, 20, 60, 60, 20};
    for (int i = 0; i < 10; i++)
        m[i] = std::fabs(a[0]) > FLT_EPSILON ? (a[0] < 0 ? -a[i] : a[i]) / by[i] : 0;
}

template <class T> void image_moments(const T* image, int64_t width, int64_t height, bool binary, double* m) {
    std::fill(m, m + 10, 0.0);
    walle_stop_watch watch;
    for (int64_t y = 0; y < height; y++) {
        watch.work(width);
        double r[4] = {};
        for (int64_t x = 0; x < width; x++) {
            const double v = binary ? image[y * width + x] != 0 : double(image[y * width + x]), vx = v * double(x);
            r[0] += v;
            r[1] += vx;
            r[2] += vx * double(x);
            r[3] += vx * double(x) * double(x);
        }
        const double Y = double(y), Y2 = Y * Y;
        const double add[10] = {r[0], r[1], r[0] * Y, r[2], r[1] * Y, r[0] * Y2, r[3], r[2] * Y, r[1] * Y2,
                                r[0] * Y2 * Y};
        for (int i = 0; i < 10; i++) m[i] += add[i];
    }
}

}}}  // namespace walle::cv
