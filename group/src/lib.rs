//! The loading process: cache, flights, generations and the order of a Get.
