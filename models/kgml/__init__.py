"""KGML-ag-Carbon: recurrent networks guided by what is known of carbon (Liu et al. 2024)."""
