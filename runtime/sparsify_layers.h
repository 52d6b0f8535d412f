/*
 * sparsify_layers.h - how sparse each layer becomes, so that the mean weighted by parameters is what was asked for.
 *
 *   OWL (arXiv 2310.05175)   D = 100 * share of a layer's scores |w| * a above M times their mean: many outliers, more is kept
 *   after M-Wanda            1 - R, R = how alike languages are in it (dgm_channels_correlation): few in common, more is kept
 *
 * Either is mapped as OWL does: keep_l = spread * (D_l - min D) / (max D - min D), shifted so that its mean is 1 - sparsity. So
 * the least and the most sparse layer are `spread` apart, 2 lambda in OWL's terms. Feeding the correlation into that map is our
 * own. Local, any thread.
 */
#ifndef DGM_RUNTIME_SPARSIFY_LAYERS_H
#define DGM_RUNTIME_SPARSIFY_LAYERS_H

/* No layer is less sparse than OWL's least, nor emptied; what that takes from some, the others make up for. */
#define DGM_LEAST_SPARSITY 0.01
#define DGM_MOST_SPARSITY 0.99

/* dgm_layers_spread - sparsity [n] of layers by their worth [n]; params [n] weigh the mean. A negative spread turns the order
 * round. Where all are worth the same, all become as sparse. sparsity: within the two bounds above. */
void dgm_layers_spread(double *sparsity, const double *worth, const double *params, int n,
                       double mean, double spread);

#endif
