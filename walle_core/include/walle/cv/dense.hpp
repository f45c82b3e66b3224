// Linear algebra of small matrices in double precision: row-major, no blocking, no threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "walle/stop.hpp"

namespace walle { namespace cv { namespace {

using Numbers = std::vector<double>;

// Solves A x = b by LU with partial pivoting, in place; false for a singular A.
inline bool solve_lu(double* a, int n, double* b, int columns) {
    walle_stop_watch watch;
    for (int i = 0; i < n; i++) {
        int pivot = i;
        for (int j = i + 1; j < n; j++)
            if (std::fabs(a[j * n + i]) > std::fabs(a[pivot * n + i])) pivot = j;
        if (std::fabs(a[pivot * n + i]) < 2.220446049250313e-14) return false;
        if (pivot != i) {
            std::swap_ranges(a + i * n, a + i * n + n, a + pivot * n);
            std::swap_ranges(b + i * columns, b + i * columns + columns, b + pivot * columns);
        }
        for (int j = i + 1; j < n; j++) {
            const double f = a[j * n + i] / a[i * n + i];
            watch.work(n - i + columns);
            for (int k = i + 1; k < n; k++) a[j * n + k] -= f * a[i * n + k];
            for (int k = 0; k < columns; k++) b[j * columns + k] -= f * b[i * columns + k];
        }
    }
    for (int i = n - 1; i >= 0; i--)
        for (int k = 0; k < columns; k++) {
            double s = b[i * columns + k];
            for (int j = i + 1; j < n; j++) s -= a[i * n + j] * b[j * columns + k];
            b[i * columns + k] = s / a[i * n + i];
        }
    return true;
}

// The same for a symmetric positive definite A, by Cholesky's decomposition; false if A is not.
inline bool solve_cholesky(double* a, int n, double* b, int columns) {
    walle_stop_watch watch;
    for (int i = 0; i < n; i++)
        for (int j = 0; j <= i; j++) {
            double s = a[i * n + j];
            watch.work(j + 1);
            for (int k = 0; k < j; k++) s -= a[i * n + k] * a[j * n + k];
            if (i != j) {
                a[i * n + j] = s / a[j * n + j];
            } else {
                if (s < 2.220446049250313e-16) return false;
                a[i * n + i] = std::sqrt(s);
            }
        }
    for (int k = 0; k < columns; k++) {
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < i; j++) b[i * columns + k] -= a[i * n + j] * b[j * columns + k];
            b[i * columns + k] /= a[i * n + i];
        }
        for (int i = n - 1; i >= 0; i--) {
            for (int j = i + 1; j < n; j++) b[i * columns + k] -= a[j * n + i] * b[j * columns + k];
            b[i * columns + k] /= a[i * n + i];
        }
    }
    return true;
}

// Least squares by Householder reflections, rows >= n; the first n rows of b become x. False if the rank is less than n.
inline bool solve_qr(double* a, int rows, int n, double* b, int columns) {
    double largest = 0;
    walle_stop_watch watch;
    for (int i = 0; i < n; i++) {
        double length = 0;
        for (int r = i; r < rows; r++) length = std::hypot(length, a[r * n + i]);
        largest = std::max(largest, length);
        if (length <= largest * 1e-14 || length == 0) return false;
        const double alpha = a[i * n + i] > 0 ? -length : length;
        Numbers v(static_cast<size_t>(rows - i));
        for (int r = i; r < rows; r++) v[size_t(r - i)] = a[r * n + i];
        v[0] -= alpha;
        const double square = std::inner_product(v.begin(), v.end(), v.begin(), 0.0);
        auto reflect = [&](double* m, int width, int from) {
            for (int c = from; c < width; c++) {
                double s = 0;
                watch.work(2 * (rows - i));
                for (int r = i; r < rows; r++) s += v[size_t(r - i)] * m[r * width + c];
                s *= 2 / square;
                for (int r = i; r < rows; r++) m[r * width + c] -= s * v[size_t(r - i)];
            }
        };
        reflect(a, n, i);
        reflect(b, columns, 0);
    }
    for (int k = 0; k < columns; k++)
        for (int i = n - 1; i >= 0; i--) {
            for (int j = i + 1; j < n; j++) b[i * columns + k] -= a[i * n + j] * b[j * columns + k];
            b[i * columns + k] /= a[i * n + i];
        }
    return true;
}

// One-sided Jacobi (Hestenes, 1958): rows x n matrix `a` becomes U diag(w), v the right vectors as columns, w descending.
inline void svd(double* a, int rows, int n, double* w, double* v) {
    for (int i = 0; i < n * n; i++) v[i] = i % (n + 1) == 0;
    auto turn = [](double* m, int height, int width, int p, int q, double c, double s) {
        for (int r = 0; r < height; r++) {
            const double x = m[r * width + p], y = m[r * width + q];
            m[r * width + p] = c * x - s * y;
            m[r * width + q] = s * x + c * y;
        }
    };
    walle_stop_watch watch;
    for (int sweep = 0; sweep < 60; sweep++) {
        bool done = true;
        for (int p = 0; p + 1 < n; p++)
            for (int q = p + 1; q < n; q++) {
                double pp = 0, qq = 0, pq = 0;
                watch.work(3 * rows);
                for (int r = 0; r < rows; r++) {
                    pp += a[r * n + p] * a[r * n + p];
                    qq += a[r * n + q] * a[r * n + q];
                    pq += a[r * n + p] * a[r * n + q];
                }
                if (std::fabs(pq) <= 1e-16 * std::sqrt(pp * qq)) continue;
                done = false;
                const double z = (qq - pp) / (2 * pq);
                const double t = (z > 0 ? 1 : -1) / (std::fabs(z) + std::sqrt(1 + z * z));
                const double c = 1 / std::sqrt(1 + t * t);
                turn(a, rows, n, p, q, c, c * t);
                turn(v, n, n, p, q, c, c * t);
            }
        if (done) break;
    }
    for (int i = 0; i < n; i++) {
        double s = 0;
        for (int r = 0; r < rows; r++) s += a[r * n + i] * a[r * n + i];
        w[i] = std::sqrt(s);
    }
    for (int i = 0; i < n; i++) {
        const int best = int(std::max_element(w + i, w + n) - w);
        if (best == i) continue;
        std::swap(w[i], w[best]);
        for (int r = 0; r < rows; r++) std::swap(a[r * n + i], a[r * n + best]);
        for (int r = 0; r < n; r++) std::swap(v[r * n + i], v[r * n + best]);
    }
}

// The x of least length among those that minimise |A x - b|; x is n x columns. Always possible.
inline bool solve_svd(double* a, int rows, int n, const double* b, int columns, double* x) {
    Numbers w(static_cast<size_t>(n)), v(static_cast<size_t>(n) * size_t(n));
    svd(a, rows, n, w.data(), v.data());
    double sum = 0;
    for (double s : w) sum += s;
    std::fill(x, x + n * columns, 0.0);
    for (int i = 0; i < n; i++) {
        if (w[size_t(i)] <= sum * 4.440892098500626e-16) continue;
        for (int k = 0; k < columns; k++) {
            double s = 0;
            for (int r = 0; r < rows; r++) s += a[r * n + i] * b[r * columns + k];
            s /= w[size_t(i)] * w[size_t(i)];
            for (int j = 0; j < n; j++) x[j * columns + k] += s * v[size_t(j * n + i)];
        }
    }
    return true;
}

enum Decomposition { kLu = 0, kSvd = 1, kEig = 2, kCholesky = 3, kQr = 4, kNormal = 16 };

// cv::solve: `a` and `b` are changed; `x` has n x columns numbers.
inline bool solve(double* a, int rows, int n, double* b, int columns, int method, double* x) {
    Numbers square, right;
    if (method & kNormal) {
        method &= ~kNormal;
        square.assign(size_t(n) * size_t(n), 0);
        right.assign(size_t(n) * size_t(columns), 0);
        walle_stop_watch watch;
        for (int r = 0; r < rows; r++)
            for (int i = 0; i < n; i++) {
                watch.work(n + columns);
                for (int j = 0; j < n; j++) square[size_t(i * n + j)] += a[r * n + i] * a[r * n + j];
                for (int k = 0; k < columns; k++) right[size_t(i * columns + k)] += a[r * n + i] * b[r * columns + k];
            }
        a = square.data();
        b = right.data();
        rows = n;
    }
    bool done;
    if (method == kSvd || method == kEig) return solve_svd(a, rows, n, b, columns, x);
    if (method == kQr) done = solve_qr(a, rows, n, b, columns);
    else if (method == kCholesky) done = solve_cholesky(a, n, b, columns);
    else done = solve_lu(a, n, b, columns);
    for (int i = 0; i < n * columns; i++) x[i] = done ? b[i] : 0;
    return done;
}

// The line through points of 2 or 3 coordinates: direction, then a point. Weighted least squares, repeated with weights
// that fall with the distance (Huber, "Robust Statistics"); kind as OpenCV's DIST_*.
inline double line_weight(int kind, double distance, double c) {
    switch (kind) {
        case 1: return 1 / std::max(distance, 1e-6);                                  // L1
        case 4: return 1 / std::sqrt(1 + distance * distance * 0.5);                  // L12
        case 5: return 1 / (1 + distance / (c <= 0 ? 1.3998 : c));                    // FAIR
        case 6: return std::exp(-std::pow(distance / (c <= 0 ? 2.9846 : c), 2));      // WELSCH
        case 7: c = c <= 0 ? 1.345 : c; return distance < c ? 1 : c / distance;       // HUBER
        default: return 1;
    }
}

inline void fit_line(const double* p, int count, int size, int kind, double parameter, double reps, double aeps,
                     double* out) {
    Numbers weights(size_t(count), 1.0);
    walle_stop_watch watch;
    for (int round = 0; round < (kind == 2 ? 1 : 100); round++) {
        watch.work(0);
        double total = 0, mean[3] = {}, moment[9] = {}, w[3], v[9];
        for (int i = 0; i < count; i++) {
            total += weights[size_t(i)];
            for (int j = 0; j < size; j++) mean[j] += weights[size_t(i)] * p[i * size + j];
        }
        for (int j = 0; j < size; j++) mean[j] /= total;
        for (int i = 0; i < count; i++)
            for (int j = 0; j < size; j++)
                for (int k = 0; k < size; k++)
                    moment[j * size + k] += weights[size_t(i)] * (p[i * size + j] - mean[j]) * (p[i * size + k] - mean[k]);
        svd(moment, size, size, w, v);
        double moved = 0, turned = 0;
        for (int j = 0; j < size; j++) {
            moved = std::max(moved, std::fabs(out[size + j] - mean[j]));
            turned += out[j] * v[j * size];
            out[size + j] = mean[j];
        }
        for (int j = 0; j < size; j++) out[j] = v[j * size];
        if (round && moved < reps * 1e-2 && std::acos(std::min(1.0, std::fabs(turned))) < aeps * 1e-2) break;
        for (int i = 0; i < count; i++) {
            double along = 0, square = 0;
            for (int j = 0; j < size; j++) {
                const double d = p[i * size + j] - out[size + j];
                along += d * out[j];
                square += d * d;
            }
            watch.work(16);
            weights[size_t(i)] = line_weight(kind, std::sqrt(std::max(0.0, square - along * along)), parameter);
        }
    }
}

}}}  // namespace walle::cv
