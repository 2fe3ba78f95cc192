"""Rows of a comparison for tests."""

from sde_ct.evaluation.table import Row


def row(method, patient, mae, psnr, ssim, **figures):
    return Row(method, patient, {"mae": mae, "psnr": psnr, "ssim": ssim, **figures})
