"""Splitting a model and its data over processes: data, sharded, tensor, context and pipeline parallelism.

One path for CPUs (gloo) and GPUs (NCCL), on torch's own `fully_shard`, `parallelize_module`, `pipelining`
and one `DeviceMesh`, under Accelerate's launch, state and precision. `Layout` says where a process stands,
`Stepper` is what the training loop asks for forward and backward.
"""
