#include "runtime/knee.h"

int dgm_knee(const double *x, const double *y, int n)
{
    int knee = -1;
    double top = 0, best = n > 0 ? y[0] : 0;
    for (int i = 1; i < n; i++)
        best = y[i] > best ? y[i] : best;
    const double width = n > 0 ? x[n - 1] - x[0] : 0, height = n > 0 ? best - y[0] : 0;
    double reached = n > 0 ? y[0] : 0;
    for (int i = 1; i < n && width > 0 && height > 0; i++) {
        const double above = (y[i] - y[0]) / height - (x[i] - x[0]) / width;
        if (y[i] > reached && above > top) {
            top = above;
            knee = i;
        }
        reached = y[i] > reached ? y[i] : reached;
    }
    return knee;
}
