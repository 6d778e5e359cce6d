"""The neural voice. The only package of koed that imports torch and transformers."""
