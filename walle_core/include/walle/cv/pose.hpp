// Rotations as vectors, the pinhole camera with lens distortion, and the pose of known points in a picture.
#pragma once

#include "walle/cv/dense.hpp"

namespace walle { namespace cv { namespace {

// Rodrigues' formula; `jacobian` (3 x 9: by component of r, of the matrix' entries) may be null.
inline void rotation(const double* r, double* m, double* jacobian) {
    const double theta = std::sqrt(r[0] * r[0] + r[1] * r[1] + r[2] * r[2]);
    const double cross_i[3][9] = {{0, 0, 0, 0, 0, -1, 0, 1, 0}, {0, 0, 1, 0, 0, 0, -1, 0, 0}, {0, -1, 0, 1, 0, 0, 0, 0, 0}};
    const double identity[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    if (theta < 2.220446049250313e-16) {
        std::copy(identity, identity + 9, m);
        for (int i = 0; jacobian && i < 3; i++) std::copy(cross_i[i], cross_i[i] + 9, jacobian + 9 * i);
        return;
    }
    const double k[3] = {r[0] / theta, r[1] / theta, r[2] / theta}, c = std::cos(theta), s = std::sin(theta);
    double cross[9];
    for (int j = 0; j < 9; j++) cross[j] = k[0] * cross_i[0][j] + k[1] * cross_i[1][j] + k[2] * cross_i[2][j];
    for (int j = 0; j < 9; j++) m[j] = c * identity[j] + (1 - c) * k[j / 3] * k[j % 3] + s * cross[j];
    for (int i = 0; jacobian && i < 3; i++)
        for (int j = 0; j < 9; j++) {
            const int row = j / 3, column = j % 3;
            auto dk = [&](int a) { return ((a == i) - k[a] * k[i]) / theta; };
            double dcross = 0;
            for (int a = 0; a < 3; a++) dcross += dk(a) * cross_i[a][j];
            jacobian[9 * i + j] = -s * k[i] * identity[j] + s * k[i] * k[row] * k[column] +
                                  (1 - c) * (dk(row) * k[column] + k[row] * dk(column)) + c * k[i] * cross[j] +
                                  s * dcross;
        }
}

// The rotation nearest to m (by its singular values).
inline void nearest_rotation(double* m) {
    double a[9], w[3], v[9], u[9];
    std::copy(m, m + 9, a);
    svd(a, 3, 3, w, v);
    for (int i = 0; i < 9; i++) u[i] = w[i % 3] > 1e-300 ? a[i] / w[i % 3] : 0;
    if (w[2] <= 1e-12 * w[0])  // rank 2: the third left vector is free
        for (int i = 0; i < 3; i++) {
            const int j = (i + 1) % 3, k = (i + 2) % 3;
            u[3 * i + 2] = u[3 * j] * u[3 * k + 1] - u[3 * k] * u[3 * j + 1];
        }
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            m[3 * i + j] = u[3 * i] * v[3 * j] + u[3 * i + 1] * v[3 * j + 1] + u[3 * i + 2] * v[3 * j + 2];
}

// The vector of the rotation nearest to m; `jacobian` is 9 x 3.
inline void rotation_vector(const double* matrix, double* r, double* jacobian) {
    double m[9];
    std::copy(matrix, matrix + 9, m);
    nearest_rotation(m);
    const double axis[3] = {m[7] - m[5], m[2] - m[6], m[3] - m[1]};
    const double s = std::sqrt((axis[0] * axis[0] + axis[1] * axis[1] + axis[2] * axis[2]) / 4);
    const double c = std::max(-1.0, std::min(1.0, (m[0] + m[4] + m[8] - 1) / 2)), theta = std::acos(c);
    const int plus[3] = {7, 2, 3}, minus[3] = {5, 6, 1};
    std::fill(jacobian, jacobian + 27, 0.0);
    if (s < 1e-5) {
        if (c > 0) {
            std::fill(r, r + 3, 0.0);
            for (int i = 0; i < 3; i++) jacobian[3 * plus[i] + i] = 0.5, jacobian[3 * minus[i] + i] = -0.5;
            return;
        }
        for (int i = 0; i < 3; i++) r[i] = std::sqrt(std::max((m[4 * i] + 1) / 2, 0.0));
        if (m[1] < 0) r[1] = -r[1];
        if (m[2] < 0) r[2] = -r[2];
        if (std::fabs(r[0]) < std::fabs(r[1]) && std::fabs(r[0]) < std::fabs(r[2]) && (m[5] > 0) != (r[1] * r[2] > 0))
            r[2] = -r[2];
        const double scale = theta / std::sqrt(r[0] * r[0] + r[1] * r[1] + r[2] * r[2]);
        for (int i = 0; i < 3; i++) r[i] *= scale;
        return;
    }
    const double factor = theta / (2 * s);
    const double by_trace = -(s - theta * c) / (4 * s * s * s);
    for (int i = 0; i < 3; i++) {
        r[i] = axis[i] * factor;
        jacobian[3 * plus[i] + i] += factor;
        jacobian[3 * minus[i] + i] -= factor;
        for (int j = 0; j < 9; j += 4) jacobian[3 * j + i] += by_trace * axis[i];
    }
}

struct Camera {
    double fx, fy, cx, cy;
    double k[8];  // k1 k2 p1 p2 k3 k4 k5 k6

    void bend(double& x, double& y) const {
        const double r2 = x * x + y * y, r4 = r2 * r2, r6 = r4 * r2;
        const double radial = (1 + k[0] * r2 + k[1] * r4 + k[4] * r6) / (1 + k[5] * r2 + k[6] * r4 + k[7] * r6);
        const double dx = 2 * k[2] * x * y + k[3] * (r2 + 2 * x * x), dy = k[2] * (r2 + 2 * y * y) + 2 * k[3] * x * y;
        x = x * radial + dx;
        y = y * radial + dy;
    }
    void straighten(double& x, double& y) const {  // fixed point of bend
        const double x0 = x, y0 = y;
        for (int i = 0; i < 20; i++) {
            double bx = x, by = y;
            bend(bx, by);
            x += x0 - bx;
            y += y0 - by;
        }
    }
    void project(const double* rotation, const double* t, const double* p, double* out) const {
        double q[3];
        for (int i = 0; i < 3; i++)
            q[i] = rotation[3 * i] * p[0] + rotation[3 * i + 1] * p[1] + rotation[3 * i + 2] * p[2] + t[i];
        double x = q[0] / q[2], y = q[1] / q[2];
        bend(x, y);
        out[0] = fx * x + cx;
        out[1] = fy * y + cy;
    }
};

// The right vector of the least singular value of a system of `rows` equations, as A^T A of size n.
inline Numbers null_vector(const Numbers& a, int rows, int n) {
    Numbers m(a), w(static_cast<size_t>(n)), v(static_cast<size_t>(n) * size_t(n)), out(static_cast<size_t>(n));
    svd(m.data(), rows, n, w.data(), v.data());
    for (int i = 0; i < n; i++) out[size_t(i)] = v[size_t(i * n + n - 1)];
    return out;
}

// A first pose by the direct linear transformation (Hartley and Zisserman, 7.1; for planes a homography, 4.1).
inline bool linear_pose(const double* object, const double* seen, int count, double* r, double* t) {
    double mean[3] = {}, moment[9] = {}, w[3], v[9];
    for (int i = 0; i < 3 * count; i++) mean[i % 3] += object[i] / count;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < 9; j++)
            moment[j] += (object[3 * i + j / 3] - mean[j / 3]) * (object[3 * i + j % 3] - mean[j % 3]);
    svd(moment, 3, 3, w, v);
    const bool plane = w[2] < w[1] * 1e-3;
    if (count < (plane ? 4 : 6)) return false;
    double turn[9], scale = std::sqrt((w[0] + w[1] + w[2]) / count);  // rows of `turn`: axes of the points
    for (int i = 0; i < 9; i++) turn[i] = v[(i % 3) * 3 + i / 3];
    const double det = turn[0] * (turn[4] * turn[8] - turn[5] * turn[7]) - turn[1] * (turn[3] * turn[8] - turn[5] * turn[6]) +
                       turn[2] * (turn[3] * turn[7] - turn[4] * turn[6]);
    if (det < 0)
        for (int i = 6; i < 9; i++) turn[i] = -turn[i];
    const int size = plane ? 3 : 4;
    Numbers a;
    for (int i = 0; i < count; i++) {
        double local[4] = {};
        for (int j = 0; j < 3; j++)
            for (int c = 0; c < 3; c++) local[j] += turn[3 * j + c] * (object[3 * i + c] - mean[c]) / scale;
        local[size - 1] = 1;
        for (int axis = 0; axis < 2; axis++)
            for (int row = 0; row < 3; row++)
                for (int j = 0; j < size; j++)
                    a.push_back(row == axis ? local[j] : row == 2 ? -seen[2 * i + axis] * local[j] : 0);
    }
    const Numbers h = null_vector(a, 2 * count, 3 * size);
    double m[9], s = 0, shift[3];
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) m[3 * i + j] = plane && j == 2 ? 0 : h[size_t(size * i + j)];
        shift[i] = h[size_t(size * i + size - 1)];
    }
    for (int j = 0; j < size - 1; j++)
        s += std::sqrt(m[j] * m[j] + m[3 + j] * m[3 + j] + m[6 + j] * m[6 + j]) / (size - 1);
    if (!(s > 0)) return false;
    double flip = 1;
    if (plane) {
        flip = shift[2] < 0 ? -1 : 1;  // the points are in front of the camera
    } else {
        flip = m[0] * (m[4] * m[8] - m[5] * m[7]) - m[1] * (m[3] * m[8] - m[5] * m[6]) + m[2] * (m[3] * m[7] - m[4] * m[6]) < 0
                   ? -1 : 1;
    }
    for (double& x : m) x *= flip / s;
    for (double& x : shift) x *= flip / s * scale;
    if (plane)
        for (int i = 0; i < 3; i++) {
            const int j = (i + 1) % 3, k = (i + 2) % 3;
            m[3 * i + 2] = m[3 * j] * m[3 * k + 1] - m[3 * k] * m[3 * j + 1];
        }
    nearest_rotation(m);
    double whole[9] = {}, jacobian[27];
    for (int i = 0; i < 9; i++)
        for (int j = 0; j < 3; j++) whole[i] += m[(i / 3) * 3 + j] * turn[3 * j + i % 3];
    rotation_vector(whole, r, jacobian);
    for (int i = 0; i < 3; i++) {
        t[i] = shift[i];
        for (int j = 0; j < 3; j++) t[i] -= whole[3 * i + j] * mean[j];
    }
    return true;
}

// Refines a pose (r, t) by Levenberg and Marquardt until the reprojection error stands still.
inline void refine_pose(const Camera& camera, const double* object, const double* image, int count, double* pose) {
    auto residuals = [&](const double* p, Numbers& out) {
        double m[9], sum = 0;
        rotation(p, m, nullptr);
        for (int i = 0; i < count; i++) {
            camera.project(m, p + 3, object + 3 * i, &out[size_t(2 * i)]);
            for (int j = 0; j < 2; j++) {
                double& e = out[size_t(2 * i + j)];
                e -= image[2 * i + j];
                sum += e * e;
            }
        }
        return sum;
    };
    const size_t rows = size_t(2 * count);
    Numbers e(rows), shifted(rows), back(rows), j(rows * 6);
    double error = residuals(pose, e), damping = 1e-3;
    for (int round = 0; round < 60 && error > 1e-24; round++) {
        double normal[36] = {}, gradient[6] = {};
        for (int k = 0; k < 6; k++) {
            const double h = 1e-6 * std::max(1.0, std::fabs(pose[k]));
            double p[6];
            std::copy(pose, pose + 6, p);
            p[k] = pose[k] + h;
            residuals(p, shifted);
            p[k] = pose[k] - h;
            residuals(p, back);
            for (size_t i = 0; i < rows; i++) j[i * 6 + size_t(k)] = (shifted[i] - back[i]) / (2 * h);
        }
        for (size_t i = 0; i < rows; i++)
            for (int k = 0; k < 6; k++) {
                gradient[k] += j[i * 6 + size_t(k)] * e[i];
                for (int l = 0; l < 6; l++) normal[6 * k + l] += j[i * 6 + size_t(k)] * j[i * 6 + size_t(l)];
            }
        bool better = false;
        for (int attempt = 0; attempt < 12 && !better; attempt++) {
            double a[36], step[6], p[6];
            std::copy(normal, normal + 36, a);
            std::copy(gradient, gradient + 6, step);
            for (int k = 0; k < 6; k++) a[7 * k] *= 1 + damping;
            if (solve_lu(a, 6, step, 1)) {
                for (int k = 0; k < 6; k++) p[k] = pose[k] - step[k];
                const double now = residuals(p, shifted);
                better = now < error;
                if (better) {
                    const bool still = error - now < 1e-14 * error;
                    std::copy(p, p + 6, pose);
                    e.swap(shifted);
                    error = now;
                    damping = std::max(damping / 10, 1e-15);
                    if (still) return;
                }
            }
            if (!better) damping *= 10;
        }
        if (!better) return;
    }
}

// cv::solvePnP, iterative: pose is r, t; `guess` says that it holds a first one. False if there are too few points.
inline bool solve_pnp(const double* object, const double* image, int count, const Camera& camera, bool guess,
                      double* pose) {
    if (!guess) {
        Numbers seen(image, image + 2 * count);
        for (int i = 0; i < count; i++) {
            double &x = seen[size_t(2 * i)], &y = seen[size_t(2 * i + 1)];
            x = (x - camera.cx) / camera.fx;
            y = (y - camera.cy) / camera.fy;
            camera.straighten(x, y);
        }
        if (!linear_pose(object, seen.data(), count, pose, pose + 3)) return false;
    }
    refine_pose(camera, object, image, count, pose);
    return true;
}

}}}  // namespace walle::cv
