"""Denoise one seed with three samplers, and compare the digits on a contact sheet.

Usage: python examples/denoising.py
"""

import zoo_core as zoo

SAMPLERS = {"ddpm": 100, "ddim": 50, "dpmpp-2m": 15}

model = zoo.load("ddpm-digits")
sheet = zoo.ContactSheet(len(SAMPLERS), captions=True)
for sampler, steps in SAMPLERS.items():
    for sample in model.generate(seed=7, label=3, sampler=sampler, steps=steps):
        sheet.paste(sample.image, f"{sampler} {steps}")
sheet.image.save("denoising.png")
