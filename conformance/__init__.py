"""A conformance kit for agent gateways: is what the trainer gets exactly what the model saw and sampled?"""

__version__ = "0.1.0"
