"""What `import harness` offers to scripts and notebooks: a thin shell over the same plan, run, evaluate and compare as `itm`."""
