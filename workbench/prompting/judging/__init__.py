"""A model as the judge of answers (Zheng et al. 2023), each on its own, by a rubric. No torch."""
