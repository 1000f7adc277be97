"""The paper's toy tasks on Not-so-Clevr: coordinate classification, rendering and regression."""
