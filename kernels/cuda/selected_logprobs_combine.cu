// Log-probabilities from the parts of the vocabulary: log p = -softplus(log-sum-exp of the others - target's logit),
// which keeps its digits where p is near 1.
//
// Launch: selected_logprobs_combine, after selected_logprobs_forward with the same parameters
//   grid    (ceil(N / 128), 1, 1)
//   block   (128, 1, 1)
//   shared  0
//   params  SelectedLogprobsParams; reads inputs.targets, target_logit, partial_*; writes logprobs, lse, is_best
#include "selected_logprobs_math.cuh"

using namespace workbench;

extern "C" __global__ void __launch_bounds__(128) selected_logprobs_combine(const SelectedLogprobsParams params) {
    const SelectedLogprobsInputs& inputs = params.inputs;
    const long long place = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= inputs.places) return;
    const long long target = inputs.targets[place];
    if (target == inputs.ignore_index) {
        params.logprobs[place] = params.lse[place] = 0.0f;
        params.is_best[place] = 0;
        return;
    }
    float most = -infinity(), total = 0.0f;
    for (int split = 0; split < params.splits; split++)
        most = fmaxf(most, params.partial_most[(long long)split * inputs.places + place]);
    if (most > -infinity())
        for (int split = 0; split < params.splits; split++) {
            const long long at = (long long)split * inputs.places + place;
            total += params.partial_total[at] * exponential(params.partial_most[at] - most);
        }
    const float rest = most + logarithm(total);
    const bool exists = target >= 0 && target < inputs.vocabulary;
    const float logit = exists ? params.target_logit[place] : infinity() - infinity();
    params.logprobs[place] = -softplus(rest - logit);
    params.lse[place] = logit + softplus(rest - logit);
    params.is_best[place] = logit >= most;
}
