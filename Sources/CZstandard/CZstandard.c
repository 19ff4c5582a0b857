#include "CZstandard.h"
int reevez_placeholder(void){return 0;}
