"""Our CUDA kernels: compiled by NVRTC at first use, kept on disk, launched on torch's stream."""
