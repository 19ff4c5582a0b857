#include "CReeveSystem.h"
int reeve_placeholder(void){return 0;}
