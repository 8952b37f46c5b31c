"""The functions of neural networks, as torch.nn.functional names them."""

from ...ops.elementwise import sigmoid, tanh
from .activation import (
    dropout,
    elu,
    elu_,
    gelu,
    glu,
    hardtanh,
    hardtanh_,
    leaky_relu,
    leaky_relu_,
    log_softmax,
    logsigmoid,
    mish,
    relu,
    relu6,
    relu_,
    selu,
    silu,
    softmax,
    softmin,
    softplus,
    softsign,
    tanhshrink,
    threshold,
)
from .attention import multi_head_attention_forward, scaled_dot_product_attention
from .convolution import conv1d, pad
from .linear import embedding, linear, one_hot
from .loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    linear_cross_entropy,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from .normalization import batch_norm, cosine_similarity, group_norm, layer_norm, normalize, pairwise_distance, rms_norm

__all__ = [
    "batch_norm", "binary_cross_entropy", "binary_cross_entropy_with_logits", "conv1d", "cosine_similarity",
    "cross_entropy", "dropout", "elu", "elu_", "embedding", "gelu", "glu", "group_norm", "hardtanh", "hardtanh_",
    "huber_loss", "kl_div", "l1_loss", "layer_norm", "leaky_relu", "leaky_relu_", "linear", "linear_cross_entropy",
    "log_softmax", "logsigmoid", "mish", "mse_loss", "multi_head_attention_forward", "nll_loss", "normalize",
    "one_hot", "pad", "pairwise_distance", "relu", "relu6", "relu_", "rms_norm", "scaled_dot_product_attention",
    "selu", "sigmoid", "silu", "smooth_l1_loss", "softmax", "softmin", "softplus", "softsign", "tanh", "tanhshrink",
    "threshold"]
